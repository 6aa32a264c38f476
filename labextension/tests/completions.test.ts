/** Inline completion: prompts, what of an answer is shown, and one request at a time. */

import { describe, expect, it } from 'vitest';
import { completionModel, completionRequest, fit, languageOf, Place, promptPrefix } from '../src/model/completionPrompt';
import { availability, Completions, readPiece } from '../src/model/completions';
import { Model } from '../src/model/types';

const CODER: Model = {
  name: 'coder', size: 5, quantization: '', parameters: '', capabilities: ['completion', 'insert'], context: 0, source: 'hub', resident: 5
};
const CHAT: Model = { ...CODER, name: 'chat', size: 1, capabilities: ['completion', 'thinking'] };
const SETTINGS = { enabled: true, model: '', disabledLanguages: ['markdown'] };

function place(prefix: string, suffix = '', above: Place['above'] = []): Place {
  return { prefix, suffix, language: 'python', above };
}

describe('a prompt', () => {
  const above = [
    { kind: 'markdown', source: 'Read\n\nit' },
    { kind: 'code', source: 'import os\n' }
  ] as const;

  it('has the cells above, with markdown as comments', () => {
    expect(promptPrefix(place('os.', '', above), 100)).toBe('# Read\n#\n# it\n\nimport os\n\nos.');
  });
  it('drops the farthest cells first', () => {
    expect(promptPrefix(place('os.', '', above), 20)).toBe('import os\n\nos.');
  });
  it('keeps the end of a long prefix', () => {
    expect(promptPrefix(place('abcdef'), 3)).toBe('def');
  });
  it('fits into the context of a small model', () => {
    const { body } = completionRequest({ ...CODER, context: 164 }, place('a'.repeat(900), 'b'.repeat(900)));
    expect(String(body.prompt).length + String(body.suffix).length).toBe(200);
  });
  it('has low priority and a suffix', () => {
    const { path, body } = completionRequest(CODER, place('x', '\ny'));
    expect(path).toBe('v1/completions');
    expect(body).toMatchObject({ prompt: 'x', suffix: '\ny', priority: 1, stream: true, stop: ['\n\n'] });
  });
  it('ends at the line in the middle of a line', () => {
    expect(completionRequest(CODER, place('f(', ')')).body.stop).toEqual(['\n']);
  });
  it('is a chat without reasoning for a model that reads no suffix', () => {
    const { path, body } = completionRequest(CHAT, place('x ='));
    expect(path).toBe('v1/chat/completions');
    expect(body).toMatchObject({ reasoning: { effort: 'off' } });
  });
});

describe('what is shown', () => {
  it.each([
    ['no repeat of the rest of the line', 'a, b)', place('f(', ')'), false, 'a, b'],
    ['no repeat of the next line', ' 1\nreturn x', place('x =', '\nreturn x'), false, ' 1'],
    ['one line in the middle of a line', 'a\nb', place('f(', ')'), false, 'a'],
    ['several lines at the end of a line', '\n  a\n  b', place('if x:'), false, '\n  a\n  b'],
    ['no fence of a chat', '```python\nx = 1\n```', place(''), true, 'x = 1'],
    ['nothing of a fence that is not complete', '``', place(''), true, ''],
    ['not the line before the cursor again', 'x = 1', place('x ='), true, ' 1'],
    ['fences that a model for code wrote', '```', place(''), false, '```']
  ])('has %s', (_, answer, where, isChat, expected) => {
    expect(fit(answer, where, isChat)).toBe(expected);
  });
});

describe('the model', () => {
  const small = { ...CODER, name: 'small', size: 2 };

  it('is the smallest one in memory that reads a suffix', () => {
    expect(completionModel([CHAT, CODER, small, { ...small, size: 1, resident: null }], '')).toBe(small);
  });
  it('is the one of the setting, also without the capability', () => {
    expect(completionModel([CHAT, CODER], 'chat')).toBe(CHAT);
  });
  it.each([
    ['off', { ...SETTINGS, enabled: false }, [CODER], 'python'],
    ['language-off', SETTINGS, [CODER], 'markdown'],
    ['no-model', SETTINGS, [CHAT], 'python'],
    ['missing', { ...SETTINGS, model: 'gone' }, [CODER], 'python']
  ])('is not asked: %s', (kind, settings, models, language) => {
    expect(availability(settings, models, language)).toEqual({ kind });
  });
});

it.each([['text/x-ipython', 'python'], ['text/x-ipythongfm', 'markdown'], ['application/json', 'json'], ['', 'plain']])(
  'the language of %s is %s', (mimeType, language) => expect(languageOf(mimeType)).toBe(language)
);

it('a chunk of either endpoint has text, and an error is thrown', () => {
  expect(readPiece('{"choices":[{"text":"a"}]}')).toBe('a');
  expect(readPiece('{"choices":[{"delta":{"content":"b"}}]}')).toBe('b');
  expect(readPiece('[DONE]')).toBe('');
  expect(() => readPiece('{"error":{"message":"busy"}}')).toThrow('busy');
});

/** A server whose answers the test writes. */
class Server {
  readonly signals: (AbortSignal | null)[] = [];
  readonly completions = new Completions(async (_, { signal }) => {
    this.signals.push(signal ?? null);
    const body = new ReadableStream<Uint8Array>({ start: controller => void (this._controller = controller) });
    signal?.addEventListener('abort', () => this._controller?.error(signal.reason));
    return new Response(body);
  });

  /** Returns once the text of the event was read. */
  async write(text: string): Promise<void> {
    await settled();
    this._controller?.enqueue(new TextEncoder().encode(`data: ${JSON.stringify({ choices: [{ text }] })}\n\n`));
    await settled();
  }

  async end(): Promise<void> {
    await settled();
    this._controller?.close();
    await settled();
  }

  private _controller: ReadableStreamDefaultController<Uint8Array> | null = null;
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

describe('a completion', () => {
  it('streams the whole text so far', async () => {
    const server = new Server();
    server.completions.request(CODER, place('x ='));
    const stream = server.completions.stream(() => place('x ='));
    await server.write(' 1');
    expect((await stream.next()).value).toBe(' 1');
    await server.write(' + 2');
    expect((await stream.next()).value).toBe(' 1 + 2');
    await server.end();
    expect((await stream.next()).done).toBe(true);
    expect(server.completions.state.get()).toEqual({ isBusy: false, failure: null });
  });
  it('sends nothing while the user types along', async () => {
    const server = new Server();
    server.completions.request(CODER, place('x ='));
    await server.write(' 1 + 2');
    server.completions.request(CODER, place('x = 1'));
    const stream = server.completions.stream(() => place('x = 1'));
    expect((await stream.next()).value).toBe(' + 2');
    expect(server.signals).toHaveLength(1);
  });
  it('aborts the request before when the user types something else', async () => {
    const server = new Server();
    server.completions.request(CODER, place('x ='));
    await server.write(' 1');
    server.completions.request(CODER, place('x = y'));
    await settled();
    expect(server.signals.map(signal => signal?.aborted)).toEqual([true, false]);
    expect(server.completions.state.get()).toEqual({ isBusy: true, failure: null });
  });
  it('is asked again after the whole suggestion was accepted', async () => {
    const server = new Server();
    server.completions.request(CODER, place('x ='));
    await server.write(' 1');
    await server.end();
    server.completions.request(CODER, place('x = 1'));
    await settled();
    expect(server.signals).toHaveLength(2);
  });
  it('ends its stream when the user types something else', async () => {
    const server = new Server();
    server.completions.request(CODER, place('x ='));
    await server.write(' 1');
    expect((await server.completions.stream(() => place('x = y')).next()).done).toBe(true);
  });
  it('keeps the reason of a failure', async () => {
    const completions = new Completions(async () => Response.json({ error: { message: 'no memory' } }, { status: 503 }));
    completions.request(CODER, place('x'));
    await expect.poll(() => completions.state.get()).toEqual({ isBusy: false, failure: 'no memory' });
  });
});
