/** Exports a conversation as Markdown or as a notebook with runnable code cells. */

import { Block, BlockSplitter, mergeDefinitions } from './blocks';
import { line, speaker, turn } from './conversationMarkdown';
import { wellFormed } from './names';
import { fenced, safeMarkdown } from './safeMarkdown';
import { Message, Transcript } from './types';
import { promptText } from './wire';

/** All messages as Markdown for a text editor. The text of the messages is unchanged. */
export function toMarkdown({ title, messages }: Transcript): string {
  const turns = messages.map(message => turn(message, `## ${speaker(message)}`, promptText(message).trim()));
  return wellFormed(`${[`# ${title || 'Conversation'}`, ...turns].join('\n\n')}\n`);
}

/** A notebook as JSON. Python code in answers becomes code cells. Everything else becomes Markdown cells, which are safe to render. */
export function toNotebook({ title, messages }: Transcript): string {
  const cells = [markdownCell(`# ${line(title) || 'Conversation'}`), ...messages.flatMap(messageCells)];
  const metadata = { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } };
  const numbered = cells.map((cell, index) => ({ id: `cell-${index}`, ...cell }));
  return `${JSON.stringify({ cells: numbered, metadata, nbformat: 4, nbformat_minor: 5 }, wellFormedValue, 1)}\n`;
}

function wellFormedValue(_: string, value: unknown): unknown {
  return typeof value === 'string' ? wellFormed(value) : value;
}

type Cell = Readonly<Record<string, unknown>>;

function messageCells(message: Message): Cell[] {
  const head = `**${line(speaker(message))}**`;
  if (message.role === 'user') {
    return [markdownCell(turn(message, head, safeMarkdown(promptText(message))))];
  }
  const cells: Cell[] = [];
  const blocks = new BlockSplitter().update(message.content);
  let prose = [turn(message, head, '')];
  const flush = (): void => {
    if (prose.length) {
      cells.push(markdownCell([...prose, ...usedDefinitions(prose.join('\n'), blocks)].join('\n\n')));
    }
    prose = [];
  };
  for (const block of blocks) {
    if (block.kind === 'code' && /^(python|py|ipython)?$/i.test(block.language)) {
      flush();
      cells.push({ cell_type: 'code', metadata: {}, source: block.source, outputs: [], execution_count: null });
    } else if (block.kind !== 'definitions') {
      prose.push(block.kind === 'code' ? fenced(block.source, block.language) : safeMarkdown(block.source));
    }
  }
  flush();
  return cells;
}

function markdownCell(source: string): Cell {
  return { cell_type: 'markdown', metadata: {}, source };
}

/** The link definitions that a cell uses. A link in a notebook needs its definition in the same cell. */
function usedDefinitions(prose: string, blocks: readonly Block[]): string[] {
  const all = Object.entries(mergeDefinitions(blocks.map(({ definitions }) => definitions)));
  const text = prose.toLowerCase();
  return all.filter(([label]) => text.includes(`[${label}]`)).map(([label, { href }]) => safeMarkdown(`[${label}]: ${href}`));
}
