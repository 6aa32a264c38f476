/** Writes a conversation as safe Markdown, which notebooks save for readers without the panel. The Python module
 * pico_jupyter/panel/transcript.py writes the same text. */

import { safeMarkdown } from './safeMarkdown';
import { Message } from './types';

/** All messages as Markdown that is safe in every renderer. */
export function conversationMarkdown(messages: readonly Message[]): string {
  const turns = messages.map(message => turn(message, `**${line(speaker(message))}**`, safeMarkdown(message.content)));
  return turns.join('\n\n') || '*No messages yet.*';
}

/** A message with its reasoning, the names of its attachments, and its error. */
export function turn(message: Message, head: string, text: string): string {
  const names = message.attachments?.map(({ name }) => line(name)) ?? [];
  const parts = [
    head,
    foldReasoning(message.reasoning ?? ''),
    text,
    ...(message.calls ?? []).map(({ name, result }) => `*Called ${line(name)}: ${line((result ?? 'not done').split('\n', 1)[0])}*`),
    names.length ? `*Attached: ${names.join(', ')}*` : '',
    message.status === 'failed' ? `*Failed: ${line(message.error ?? '')}*` : ''
  ];
  return parts.filter(part => part.trim()).join('\n\n');
}

export function speaker(message: Message): string {
  return message.role === 'user' ? 'You' : message.model || 'Model';
}

/** Reasoning in a block that a click opens. */
function foldReasoning(reasoning: string): string {
  return reasoning.trim() && `<details><summary>Thinking</summary>\n\n${safeMarkdown(reasoning, '  \n')}\n\n</details>`;
}

export function line(text: string): string {
  return safeMarkdown(text.trim().replace(/\s+/g, ' '));
}
