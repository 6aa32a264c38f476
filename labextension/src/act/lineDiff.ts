/** The lines that differ between two texts. */

export interface DiffLine {
  readonly sign: ' ' | '+' | '-';
  readonly text: string;
}

/** Above this product of both numbers of lines, all lines between the equal ends count as changed. */
const MAX_TABLE = 1_000_000;

export function lineDiff(before: string, after: string): DiffLine[] {
  const [old, next] = [lines(before), lines(after)];
  let start = 0;
  while (start < Math.min(old.length, next.length) && old[start] === next[start]) {
    start += 1;
  }
  let end = 0;
  while (end < Math.min(old.length, next.length) - start && old.at(-1 - end) === next.at(-1 - end)) {
    end += 1;
  }
  const middle = changes(old.slice(start, old.length - end), next.slice(start, next.length - end));
  return [...signed(' ', old.slice(0, start)), ...middle, ...signed(' ', old.slice(old.length - end))];
}

/** An empty text has no lines. */
function lines(text: string): string[] {
  return text ? text.split('\n') : [];
}

function signed(sign: DiffLine['sign'], texts: readonly string[]): DiffLine[] {
  return texts.map(text => ({ sign, text }));
}

/** The shortest change, from the longest common subsequence. Removed lines are before added ones. */
function changes(old: readonly string[], next: readonly string[]): DiffLine[] {
  if (old.length * next.length > MAX_TABLE) {
    return [...signed('-', old), ...signed('+', next)];
  }
  // common[i][j]: the length of the longest common subsequence of old from i and next from j.
  const common = Array.from({ length: old.length + 1 }, () => new Array<number>(next.length + 1).fill(0));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = next.length - 1; j >= 0; j -= 1) {
      common[i][j] = old[i] === next[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const result: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < next.length) {
    if (i < old.length && j < next.length && old[i] === next[j]) {
      result.push({ sign: ' ', text: old[i] });
      i += 1;
      j += 1;
    } else if (i < old.length && (j === next.length || common[i + 1][j] >= common[i][j + 1])) {
      result.push({ sign: '-', text: old[i] });
      i += 1;
    } else {
      result.push({ sign: '+', text: next[j] });
      j += 1;
    }
  }
  return result;
}
