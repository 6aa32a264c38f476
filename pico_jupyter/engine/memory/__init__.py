"""Memory: ModelManager counts all memory against one budget. PrefixCache, Capacity and the limits of the device."""
