/** The tools that a model calls, what a call returns, and what the user approves before a call. */

import { Json } from '../model/json';
import { ToolDefinition } from '../model/types';

export interface ToolResult {
  /** What the model reads. The text of a failed call begins with "Error:". */
  readonly text: string;
  /** Images as data URLs, for models that accept images. */
  readonly images?: readonly string[];
  readonly failed?: boolean;
}

/** What a call will do. `cell` is the short id of a cell. */
export type Proposal =
  | { readonly kind: 'insert'; readonly source: string; readonly after: string | null }
  | { readonly kind: 'edit'; readonly cell: string; readonly before: string; readonly after: string }
  | { readonly kind: 'delete'; readonly cell: string; readonly before: string }
  | { readonly kind: 'run'; readonly cell: string; readonly source: string }
  /** A tool of an MCP server. `tool` is its name, and `source` its arguments as JSON. */
  | { readonly kind: 'other'; readonly tool: string; readonly source: string };

export interface Toolbox {
  tools(): Promise<readonly ToolDefinition[]>;
  /** What a call will do; null if it changes nothing; its result if it cannot work. Such a call must not be made. */
  propose(name: string, args: Json): Promise<Proposal | ToolResult | null>;
  /** Calls a tool. Aborting `signal` ends the wait for its result. `note` receives the reason of a long wait. */
  call(name: string, args: Json, signal: AbortSignal, note?: (text: string) => void): Promise<ToolResult>;
}

export function isResult(proposal: Proposal | ToolResult | null): proposal is ToolResult {
  return proposal !== null && 'text' in proposal;
}

/** A call failed. The message tells the model in one sentence what to do. */
export class ToolError extends Error {}

export function failure(reason: string): ToolResult {
  return { text: `Error: ${reason}`, failed: true };
}
