/** Writes cells, outputs and errors as texts for a model. */

import { array, Json, object, string } from '../model/json';
import { ToolError } from './toolbox';

/** The shortest short id of a cell. */
const ID_LENGTH = 4;
/** The characters of a cell's first line in the outline of its notebook. */
const LINE_LENGTH = 80;
const MAX_IMAGES = 4;
/** The largest image in characters of base64. */
const IMAGE_LENGTH = 4_000_000;

export interface CellFacts {
  readonly id: string;
  readonly kind: string;
  readonly count: number | null;
  readonly source: string;
  /** Outputs in notebook format. */
  readonly outputs: readonly unknown[];
}

/** The first characters of a cell's id that no other cell has, at least four. */
export function shortId(id: string, ids: readonly string[]): string {
  const others = ids.filter(other => other !== id);
  let length = ID_LENGTH;
  while (length < id.length && others.some(other => other.startsWith(id.slice(0, length)))) {
    length += 1;
  }
  return id.slice(0, length);
}

/** The cell with this short id or whole id. Throws a ToolError with the ids of all cells without one, or with more than one. */
export function findCell<T extends { readonly id: string }>(cells: readonly T[], wanted: string): T {
  const found = cells.filter(({ id }) => id === wanted);
  const similar = found.length ? found : cells.filter(({ id }) => wanted.length >= ID_LENGTH && id.startsWith(wanted));
  if (similar.length === 1) {
    return similar[0];
  }
  const ids = cells.map(({ id }) => id);
  const names = ids.map(id => shortId(id, ids)).join(', ');
  throw new ToolError(`There is no cell ${wanted}. ${names ? `The cells are ${names}.` : 'The notebook is empty.'}`);
}

/** A line for the notebook, and a line for each of its cells. */
export function outline(name: string, cells: readonly CellFacts[]): string {
  const ids = cells.map(({ id }) => id);
  const lines = cells.map((cell, index) => {
    const first = cell.source.split('\n', 1)[0].slice(0, LINE_LENGTH);
    return `${index + 1} ${head(cell, ids)} ${first}${hasError(cell) ? ' error' : ''}`.trimEnd();
  });
  return [`${name}, ${cells.length} ${cells.length === 1 ? 'cell' : 'cells'}`, ...lines].join('\n');
}

/** A cell's head, its source, and its output if it has one. */
export function cellText(cell: CellFacts, ids: readonly string[]): string {
  return [head(cell, ids), cell.source, ...(cell.outputs.length ? [runText(cell.outputs)] : [])].join('\n');
}

function head({ id, kind, count }: CellFacts, ids: readonly string[]): string {
  return `${shortId(id, ids)} ${kind}${kind === 'code' ? ` [${count ?? ' '}]` : ''}`;
}

function hasError(cell: CellFacts): boolean {
  return cell.outputs.some(output => object(output).output_type === 'error');
}

/** What a run printed and displayed, and its error. */
export function runText(outputs: readonly unknown[]): string {
  const all = outputs.map(object);
  const printed = all.map(outputText).filter(Boolean).join('\n').trimEnd();
  const errors = all.filter(({ output_type }) => output_type === 'error').map(errorText);
  const parts = [...(printed ? [`Output:\n${printed}`] : []), ...errors.map(error => `Error:\n${error}`)];
  return parts.join('\n') || 'No output.';
}

function outputText(output: Json): string {
  return plain(joined(output.text) || joined(object(output.data)['text/plain'])).replace(/\n$/, '');
}

function errorText(error: Json): string {
  const traceback = plain(array(error.traceback).map(line => string(line)).join('\n'));
  const place = /Cell In\[\d+\], line (\d+)/.exec(traceback);
  const name = string(error.ename, 'Error');
  const value = plain(string(error.evalue)).replace(/ \([^()]*, line \d+\)$/, '');
  return `${name}${value ? `: ${value}` : ''}${place ? `\n(line ${place[1]})` : ''}`;
}

/** The images of outputs, as data URLs. */
export function outputImages(outputs: readonly unknown[]): string[] {
  const images = outputs.flatMap(output => {
    const data = object(object(output).data);
    const type = ['image/png', 'image/jpeg'].find(candidate => joined(data[candidate]));
    return type ? [`data:${type};base64,${joined(data[type]).replace(/\s/g, '')}`] : [];
  });
  return images.filter(({ length }) => length <= IMAGE_LENGTH).slice(0, MAX_IMAGES);
}

/** Shortens a text in its middle. */
export function capped(text: string, length: number): string {
  if (text.length <= length) {
    return text;
  }
  const tail = Math.floor(length / 3);
  const start = text.slice(0, length - tail);
  return `${start}\n[${text.length - length} characters are left out]\n${text.slice(text.length - tail)}`;
}

/** Removes terminal colours, and the text that a carriage return overwrites. */
function plain(text: string): string {
  return text.replace(/\u001b\[[\d;]*m/g, '').replace(/[^\n]*\r(?!\n|$)/g, '');
}

/** The text of a field that the notebook format stores as a string or as a list of lines. */
function joined(text: unknown): string {
  return string(text) || array(text).map(line => string(line)).join('');
}
