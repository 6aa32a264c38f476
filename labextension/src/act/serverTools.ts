/** Adds the tools of MCP servers, which the Jupyter server calls, to the tools of a notebook. */

import { array, Json, object, string } from '../model/json';
import { checkedRequest, post, Send } from '../model/requests';
import { ToolDefinition } from '../model/types';
import { Proposal, Toolbox, ToolResult } from './toolbox';

/** The names of these tools contain this after the name of their server. */
const SEPARATOR = '__';

export class AssistantToolbox implements Toolbox {
  constructor(
    private readonly _notebook: Pick<Toolbox, 'propose' | 'call'>,
    private readonly _send: Send
  ) {}

  async tools(): Promise<readonly ToolDefinition[]> {
    const response = await checkedRequest(this._send, 'tools', { method: 'GET' });
    return array(object(await response.json()).tools) as readonly ToolDefinition[];
  }

  async propose(name: string, args: Json): Promise<Proposal | ToolResult | null> {
    return name.includes(SEPARATOR) ? { kind: 'other', tool: name, source: JSON.stringify(args, null, 2) } : this._notebook.propose(name, args);
  }

  async call(name: string, args: Json, signal: AbortSignal, note?: (text: string) => void): Promise<ToolResult> {
    if (!name.includes(SEPARATOR)) {
      return this._notebook.call(name, args, signal, note);
    }
    const response = await checkedRequest(this._send, `tools/${encodeURIComponent(name)}`, { ...post({ arguments: args }), signal });
    const result = object(await response.json());
    const images = array(result.images).map(image => string(image)).filter(image => image.startsWith('data:image/'));
    return { text: string(result.text), images, failed: result.failed === true };
  }
}
