"""Memory: loads and unloads models within one memory budget, and caches the prefixes of prompts."""
