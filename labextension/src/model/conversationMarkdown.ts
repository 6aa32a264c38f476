/** A conversation as Markdown for where no panel can be. Pure. pico_jupyter/panel/markdown.py writes the same. */

import { safeMarkdown } from './safeMarkdown';
import { Message } from './types';

/** What was said, for people to read, safe in any renderer. */
export function conversationMarkdown(messages: readonly Message[]): string {
  const turns = messages.map(message => turn(message, `**${line(speaker(message))}**`, safeMarkdown(message.content)));
  return turns.join('\n\n') || '*Nothing has been said yet.*';
}

/** A message with all that belongs to it: reasoning, names of attachments, what went wrong. */
export function turn(message: Message, head: string, text: string): string {
  const names = message.attachments?.map(({ name }) => line(name)) ?? [];
  const parts = [
    head,
    fold(message.reasoning ?? ''),
    text,
    names.length ? `*Attached: ${names.join(', ')}*` : '',
    message.status === 'failed' ? `*Failed: ${line(message.error ?? '')}*` : ''
  ];
  return parts.filter(part => part.trim()).join('\n\n');
}

export function speaker(message: Message): string {
  return message.role === 'user' ? 'You' : message.model || 'Model';
}

/** Thinking in a block that opens with a click. */
function fold(reasoning: string): string {
  return reasoning.trim() && `<details><summary>Thinking</summary>\n\n${safeMarkdown(reasoning, '  \n')}\n\n</details>`;
}

export function line(text: string): string {
  return safeMarkdown(text.trim().replace(/\s+/g, ' '));
}
