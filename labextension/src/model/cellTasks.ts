/** What a model is asked about one cell. */

import { fenced } from './fences';

/** `continue` writes the next cell. The others write a new source of the cell. */
export type CellTask = 'fix' | 'document' | 'continue';

/** A cell that a task is about. */
export interface TaskCell {
  readonly source: string;
  readonly language: string;
  readonly isMarkdown: boolean;
  /** The error of its last run, or ''. */
  readonly error: string;
  /** The sources of the cells before it, oldest first. */
  readonly before: readonly string[];
}

/** Characters of a question: of the error, and of the cells before the cell. */
const MAX_ERROR = 3000;
const MAX_BEFORE = 6000;

const REQUESTS: Readonly<Record<CellTask, string>> = {
  fix: 'This cell of a Jupyter notebook fails. Correct it. Answer with the whole corrected cell in one code block.',
  document:
    'Add a docstring to each function and class of this cell of a Jupyter notebook, and short comments where they help. Change nothing else. Answer with the whole cell in one code block.',
  continue: 'Write the next cell of this Jupyter notebook. Answer with its code in one code block.'
};
const REVIEW = 'Find the mistake in this cell of a Jupyter notebook and correct it. Answer with the whole corrected cell in one code block.';
const REWRITE = 'Improve the language of this Markdown cell of a Jupyter notebook. Answer with the whole cell in one code block.';

/** The question to the model. */
export function taskQuestion(task: CellTask, cell: TaskCell): string {
  const before = lastThatFit(cell.before, MAX_BEFORE);
  return [
    requestOf(task, cell),
    ...(before.length ? ['The cells before it:', ...before.map(source => fenced(source, cell.language))] : []),
    ...(before.length && task !== 'continue' ? ['The cell:'] : []),
    ...(cell.source.trim() ? [fenced(cell.source, cell.isMarkdown ? 'markdown' : cell.language)] : []),
    ...(cell.error && task === 'fix' ? [`Its error:\n${fenced(cell.error.slice(-MAX_ERROR), 'text')}`] : [])
  ].join('\n\n');
}

function requestOf(task: CellTask, { error, isMarkdown }: TaskCell): string {
  if (task === 'fix' && !error) {
    return isMarkdown ? REWRITE : REVIEW;
  }
  return REQUESTS[task];
}

/** The texts at the end of the list that together have at most `limit` characters. */
function lastThatFit(texts: readonly string[], limit: number): string[] {
  const fitting: string[] = [];
  let length = 0;
  for (const text of texts.filter(text => text.trim()).reverse()) {
    length += text.length;
    if (length > limit) {
      break;
    }
    fitting.unshift(text);
  }
  return fitting;
}
