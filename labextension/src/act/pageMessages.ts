/** The messages between the page and pico/pages, the server's end for MCP clients. */

import { Json, number, object, parseJson, string } from '../model/json';
import { ToolResult } from './toolbox';

/** A program asks the page to call a tool, or gives up a call. */
export type FromServer =
  | { readonly type: 'call'; readonly id: number; readonly tool: string; readonly args: Json; readonly client: string }
  | { readonly type: 'cancel'; readonly id: number };

/** null for a message that this page does not know. */
export function readServerMessage(text: string): FromServer | null {
  const message = object(parseJson(text));
  const id = number(message.id);
  if (message.type === 'call') {
    return { type: 'call', id, tool: string(message.tool), args: object(message.arguments), client: string(message.client) };
  }
  return message.type === 'cancel' ? { type: 'cancel', id } : null;
}

export const FOCUS_MESSAGE = JSON.stringify({ type: 'focus' });

export function resultMessage(id: number, { text, images = [], failed = false }: ToolResult): string {
  return JSON.stringify({ type: 'result', id, text, images, failed });
}
