/** Encodes requests and decodes chunks, errors and model lists of the server's HTTP API. */

import { fenced } from './fences';
import { array, Json, number, object, oneOf, parseJson, string } from './json';
import { ChatRequest, Delta, Message, Model, ToolCall } from './types';

const SOURCES = ['builtin', 'folder', 'hub'] as const;

/** The server answered with an error. */
export class ServerError extends Error {}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function chatBody(request: ChatRequest): Json {
  const system = request.system.trim() ? [{ role: 'system', content: request.system }] : [];
  return {
    model: request.model,
    messages: [...system, ...request.messages.flatMap(wireMessages)],
    stream: true,
    stream_options: { include_usage: true },
    ...(request.reasoning === 'default' ? {} : { reasoning: { effort: request.reasoning } }),
    ...(request.temperature === null ? {} : { temperature: request.temperature }),
    ...(request.continues ? { continue_final_message: true } : {}),
    ...(request.tools?.length ? { tools: request.tools, tool_choice: request.mustCall ? 'required' : 'auto', parallel_tool_calls: false } : {})
  };
}

/** A message. The results of its tool calls are messages of their own. */
function wireMessages(message: Message): Json[] {
  const { calls = [] } = message;
  if (!calls.length) {
    return [wireMessage(message)];
  }
  const tool_calls = calls.map(({ id, name, arguments: text }) => ({ id, type: 'function', function: { name, arguments: text || '{}' } }));
  return [{ ...wireMessage(message), tool_calls }, ...calls.flatMap(wireResult)];
}

/** The result of a call. Its images follow as a message of the user, because few chat templates accept images in results. */
function wireResult({ id, result = 'Error: This was not done.', images = [] }: ToolCall): Json[] {
  const parts = images.map(url => ({ type: 'image_url', image_url: { url } }));
  const shown = { role: 'user', content: [...parts, { type: 'text', text: 'The images of the output.' }] };
  return [{ role: 'tool', tool_call_id: id, content: result }, ...(parts.length ? [shown] : [])];
}

/** Omits the reasoning of past answers, because most chat templates drop it and it would cost prompt tokens. */
function wireMessage(message: Message): Json {
  const attachments = message.attachments ?? [];
  if (!attachments.length) {
    return { role: message.role, content: message.content };
  }
  const media = attachments.filter(attachment => attachment.kind !== 'text').map(attachment => ({
    type: `${attachment.kind}_url`,
    [`${attachment.kind}_url`]: { url: attachment.data }
  }));
  return { role: message.role, content: [...media, { type: 'text', text: promptText(message) }] };
}

/** The message's text, with attached text files before it. */
export function promptText(message: Message): string {
  const texts = (message.attachments ?? []).filter(attachment => attachment.kind === 'text');
  return [...texts.map(({ name, data }) => `${name}:\n${fenced(data, '')}`), message.content].filter(Boolean).join('\n\n');
}

/** The deltas of one `data:` payload, or null at the end of the stream. Throws a ServerError for an error payload. */
export function readChunk(payload: string): Delta[] | null {
  if (payload === '[DONE]') {
    return null;
  }
  const chunk = object(parseJson(payload));
  if (chunk.error) {
    throw new ServerError(string(object(chunk.error).message, 'The server ended the answer with an error.'));
  }
  const deltas: Delta[] = [];
  const choice = object(array(chunk.choices)[0]);
  const delta = object(choice.delta);
  const reasoning = string(delta.reasoning_content) || string(delta.reasoning);
  if (reasoning) {
    deltas.push({ kind: 'reasoning', text: reasoning });
  }
  if (string(delta.content)) {
    deltas.push({ kind: 'text', text: string(delta.content) });
  }
  for (const call of array(delta.tool_calls).map(object)) {
    const { name, arguments: text } = object(call.function);
    deltas.push({ kind: 'call', index: number(call.index), id: string(call.id), name: string(name), arguments: string(text) });
  }
  if (string(choice.finish_reason)) {
    deltas.push({ kind: 'finish', reason: string(choice.finish_reason) });
  }
  if (chunk.usage) {
    deltas.push({ kind: 'usage', stats: readUsage(object(chunk.usage)) });
  }
  return deltas;
}

function readUsage(usage: Json): { promptTokens: number; completionTokens: number; reasoningTokens: number } {
  return {
    promptTokens: number(usage.prompt_tokens),
    completionTokens: number(usage.completion_tokens),
    reasoningTokens: number(object(usage.completion_tokens_details).reasoning_tokens)
  };
}

/** Progress of a load or of prefill, from a comment such as `keepalive 3/10`. */
export function readComment(text: string): Delta | null {
  const match = /^keepalive (\d+)\/(\d+)$/.exec(text);
  return match && match[2] !== '0' ? { kind: 'progress', done: Number(match[1]), total: Number(match[2]) } : null;
}

/** The error of a failed request, from a body of either dialect or of Jupyter itself. */
export function readServerError(status: number, body: string): ServerError {
  const answer = object(parseJson(body));
  const message = string(object(answer.error).message) || string(answer.error) || string(answer.message);
  return new ServerError(message || `The server answered with status ${status}.`);
}

/** The models of api/tags that chat, with context lengths from v1/models and memory use from api/ps. */
export function readModels(tags: unknown, listed: unknown, running: unknown): Model[] {
  const known = new Map(array(object(listed).data).map(object).map(model => [string(model.id), model]));
  const resident = new Map(array(object(running).models).map(object).map(model => [plainName(model), number(model.size)]));
  const models = array(object(tags).models).map(object).map(tag => {
    const name = plainName(tag);
    const details = object(tag.details);
    return {
      name,
      size: number(tag.size),
      quantization: string(details.quantization_level),
      parameters: string(details.parameter_size),
      capabilities: array(tag.capabilities).map(capability => string(capability)),
      context: number(known.get(name)?.max_model_len),
      source: oneOf(known.get(name)?.source, SOURCES, ''),
      resident: resident.get(name) ?? null
    };
  });
  return models.filter(model => !model.capabilities.includes('embedding'));
}

function plainName(model: Json): string {
  return string(model.name).replace(/:latest$/, '');
}
