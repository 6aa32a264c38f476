/** Answers a message with tools: asks the model, calls its tool, adds the result, and asks again. */

import { object, parseJson } from '../model/json';
import { Finish, ToolCall, Turn } from '../model/types';
import { untilAborted } from '../model/untilAborted';
import { reasonOf } from '../model/wire';
import { capped } from './cellTexts';
import { failure, Toolbox, ToolResult } from './toolbox';

export const MAX_STEPS = 12;
const STOPPED = 'The user stopped this.';
/** This many failed calls in a row end the turn. */
const MAX_FAILURES = 2;

export interface LoopOptions {
  readonly toolbox: Toolbox;
  readonly system: string;
  /** The turn ends after this many answers with calls. */
  readonly maxSteps: number;
  /** Longer results are shortened. */
  readonly resultLength: number;
  /** Whether the model accepts images. */
  readonly acceptsImages: boolean;
  readonly note: (text: string) => void;
}

/** Runs a turn. The first answer is a call, because a request in Act mode is about the notebook.
 * The turn ends when the model answers without a call, a limit is reached, or the user stops. */
export async function runLoop(turn: Turn, options: LoopOptions): Promise<void> {
  const tools = await options.toolbox.tools();
  let failures = 0;
  for (let step = 1; ; step += 1) {
    const answer = await turn.ask({ tools, system: options.system, mustCall: step === 1 });
    for (const call of answer.calls ?? []) {
      const result = await callTool(call, turn.signal, options);
      turn.setResult(answer.id, call.id, result);
      failures = result.failed ? failures + 1 : 0;
      if (turn.signal.aborted) {
        return;
      }
    }
    const end = reasonToEnd(step, failures, options.maxSteps);
    if (!answer.calls?.length || end) {
      turn.end(end);
      return;
    }
  }
}

function reasonToEnd(step: number, failures: number, maxSteps: number): Finish | null {
  if (failures >= MAX_FAILURES) {
    return 'tool_errors';
  }
  return step >= maxSteps ? 'step_limit' : null;
}

async function callTool(call: ToolCall, signal: AbortSignal, options: LoopOptions): Promise<ToolResult> {
  const args = parseJson(call.arguments || '{}');
  if (typeof args !== 'object' || args === null || Array.isArray(args)) {
    return failure(`The arguments of ${call.name} are not a JSON object.`);
  }
  try {
    const result = await untilAborted(options.toolbox.call(call.name, object(args), signal, options.note), signal);
    const images = options.acceptsImages && result.images?.length ? { images: result.images } : {};
    return { text: capped(result.text, options.resultLength), failed: result.failed, ...images };
  } catch (error) {
    return failure(signal.aborted ? STOPPED : reasonOf(error));
  } finally {
    options.note('');
  }
}
