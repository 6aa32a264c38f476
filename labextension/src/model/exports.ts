/** A conversation as Markdown, and as a notebook whose code can be run. Pure. */

import { BlockSplitter } from './blocks';
import { fenced, harmless, speaker, turn } from './markdown';
import { Message, Transcript } from './types';
import { promptText } from './wire';

export function toMarkdown({ title, messages }: Transcript): string {
  const turns = messages.map(message => `## ${harmless(speaker(message))}\n\n${turn(message, harmless(promptText(message)).trim())}`);
  return `${[`# ${harmless(title) || 'Conversation'}`, ...turns].join('\n\n')}\n`;
}

/** Python in an answer becomes a code cell; everything else is Markdown. */
export function toNotebook({ title, messages }: Transcript): string {
  const cells = [markdownCell(`# ${harmless(title) || 'Conversation'}`), ...messages.flatMap(messageCells)];
  const metadata = { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } };
  const numbered = cells.map((cell, index) => ({ id: `cell-${index}`, ...cell }));
  return `${JSON.stringify({ cells: numbered, metadata, nbformat: 4, nbformat_minor: 5 }, null, 1)}\n`;
}

type Cell = Readonly<Record<string, unknown>>;

function messageCells(message: Message): Cell[] {
  const who = `**${harmless(speaker(message))}**`;
  if (message.role === 'user') {
    return [markdownCell(`${who}\n\n${turn(message, harmless(promptText(message)))}`)];
  }
  const cells: Cell[] = [];
  let prose = [who, turn(message, '')];
  const flush = (): void => {
    if (prose.some(Boolean)) {
      cells.push(markdownCell(prose.filter(Boolean).join('\n\n')));
    }
    prose = [];
  };
  for (const block of new BlockSplitter().update(message.content)) {
    if (block.kind === 'code' && /^(python|py|ipython)?$/i.test(block.language)) {
      flush();
      cells.push({ cell_type: 'code', metadata: {}, source: block.source, outputs: [], execution_count: null });
    } else {
      prose.push(block.kind === 'code' ? fenced(block.source, block.language) : harmless(block.source));
    }
  }
  flush();
  return cells;
}

function markdownCell(source: string): Cell {
  return { cell_type: 'markdown', metadata: {}, source };
}
