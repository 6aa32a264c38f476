/** Compares two versions of a text line by line. */

export interface DiffLine {
  readonly kind: 'same' | 'added' | 'removed';
  readonly text: string;
}

/** The longest common subsequence needs memory for the product of both lengths. Longer texts are compared as a whole. */
const MAX_PRODUCT = 4_000_000;

/** The lines of both versions: removed lines stand before the added lines that replace them. */
export function diffLines(before: string, after: string): DiffLine[] {
  const [old, fresh] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < Math.min(old.length, fresh.length) && old[start] === fresh[start]) {
    start += 1;
  }
  let end = 0;
  while (end < Math.min(old.length, fresh.length) - start && old[old.length - 1 - end] === fresh[fresh.length - 1 - end]) {
    end += 1;
  }
  return [
    ...lines('same', old.slice(0, start)),
    ...diffMiddle(old.slice(start, old.length - end), fresh.slice(start, fresh.length - end)),
    ...lines('same', end ? old.slice(-end) : [])
  ];
}

export function countChanges(diff: readonly DiffLine[]): { readonly added: number; readonly removed: number } {
  const count = (kind: DiffLine['kind']): number => diff.filter(line => line.kind === kind).length;
  return { added: count('added'), removed: count('removed') };
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.split('\n');
}

function lines(kind: DiffLine['kind'], texts: readonly string[]): DiffLine[] {
  return texts.map(text => ({ kind, text }));
}

function diffMiddle(old: readonly string[], fresh: readonly string[]): DiffLine[] {
  if (!old.length || !fresh.length || old.length * fresh.length > MAX_PRODUCT) {
    return [...lines('removed', old), ...lines('added', fresh)];
  }
  const common = commonLengths(old, fresh);
  const diff: DiffLine[] = [];
  let [row, column] = [0, 0];
  while (row < old.length || column < fresh.length) {
    if (row < old.length && column < fresh.length && old[row] === fresh[column]) {
      diff.push({ kind: 'same', text: old[row] });
      row += 1;
      column += 1;
    } else if (column === fresh.length || (row < old.length && common[row + 1][column] >= common[row][column + 1])) {
      diff.push({ kind: 'removed', text: old[row] });
      row += 1;
    } else {
      diff.push({ kind: 'added', text: fresh[column] });
      column += 1;
    }
  }
  return diff;
}

/** At [row][column]: the number of lines that the rests of both texts have in common. */
function commonLengths(old: readonly string[], fresh: readonly string[]): Uint32Array[] {
  const common = Array.from({ length: old.length + 1 }, () => new Uint32Array(fresh.length + 1));
  for (let row = old.length - 1; row >= 0; row -= 1) {
    for (let column = fresh.length - 1; column >= 0; column -= 1) {
      common[row][column] =
        old[row] === fresh[column] ? common[row + 1][column + 1] + 1 : Math.max(common[row + 1][column], common[row][column + 1]);
    }
  }
  return common;
}
