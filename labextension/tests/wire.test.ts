import { expect, test } from 'vitest';
import { ChatRequest } from '../src/model/types';
import { chatBody, promptText, readChunk, readComment, readModels, readServerError } from '../src/model/wire';
import { message } from './fakes';

const request: ChatRequest = {
  model: 'tiny',
  messages: [message('hello')],
  reasoning: 'default',
  system: '',
  temperature: null,
  continues: false
};

test('a plain request has only the required fields', () => {
  expect(chatBody(request)).toEqual({
    model: 'tiny',
    messages: [{ role: 'user', content: 'hello' }],
    stream: true,
    stream_options: { include_usage: true }
  });
});

test.each(['on', 'off'] as const)('the reasoning switch %s is the effort of that name', reasoning => {
  expect(chatBody({ ...request, reasoning }).reasoning).toEqual({ effort: reasoning });
});

test('all settings are sent', () => {
  const body = chatBody({ ...request, system: 'Be brief.', temperature: 0, continues: true });
  expect(body).toMatchObject({ temperature: 0, continue_final_message: true });
  expect(body.messages).toEqual([{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'hello' }]);
});

test('past reasoning is not sent again', () => {
  const body = chatBody({ ...request, messages: [message('a', { role: 'assistant', reasoning: 'hm' })] });
  expect(body.messages).toEqual([{ role: 'assistant', content: 'a' }]);
});

test('images and videos become content parts, and text files precede the question', () => {
  const attachments = [
    { id: '1', kind: 'image', name: 'a.png', data: 'data:image/png;base64,AA==' },
    { id: '2', kind: 'video', name: 'b.mp4', data: 'data:video/mp4;base64,AA==' },
    { id: '3', kind: 'text', name: 'c.py', data: 'x = 1\n' }
  ] as const;
  const body = chatBody({ ...request, messages: [message('why?', { attachments })] });
  expect(body.messages).toEqual([
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
        { type: 'video_url', video_url: { url: 'data:video/mp4;base64,AA==' } },
        { type: 'text', text: 'c.py:\n```\nx = 1\n```\n\nwhy?' }
      ]
    }
  ]);
});

test('a fence is longer than all fences in the text', () => {
  const attachments = [{ id: '1', kind: 'text', name: 'a.md', data: '````\nx\n````' }] as const;
  expect(promptText(message('?', { attachments }))).toContain('`````\n````\nx\n````\n`````');
});

const chunk = (delta: object, rest: object = {}): string => JSON.stringify({ choices: [{ delta, ...rest }] });

test.each([
  ['text', chunk({ content: 'a' }), [{ kind: 'text', text: 'a' }]],
  ['reasoning', chunk({ reasoning_content: 'h', reasoning: 'h' }), [{ kind: 'reasoning', text: 'h' }]],
  ['reasoning under its other name', chunk({ reasoning: 'h' }), [{ kind: 'reasoning', text: 'h' }]],
  ['a role alone', chunk({ role: 'assistant', content: '' }), []],
  ['a finish reason', chunk({}, { finish_reason: 'length' }), [{ kind: 'finish', reason: 'length' }]],
  [
    'usage',
    '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":2}}}',
    [{ kind: 'usage', stats: { promptTokens: 3, completionTokens: 5, reasoningTokens: 2 } }]
  ],
  ['invalid JSON', '{oops', []],
  ['the end of the stream', '[DONE]', null]
])('chunk with %s', (_, payload, deltas) => {
  expect(readChunk(payload)).toEqual(deltas);
});

test('an error payload is thrown with its message', () => {
  expect(() => readChunk('{"error":{"message":"out of memory"}}')).toThrow('out of memory');
});

test('keep-alive comments have the progress', () => {
  expect(readComment('keepalive 3/10')).toEqual({ kind: 'progress', done: 3, total: 10 });
  expect(readComment('keepalive 0/0')).toBeNull();
  expect(readComment('ping')).toBeNull();
});

test.each([
  ['{"error":{"message":"no"}}', 'no'],
  ['{"error":"no"}', 'no'],
  ['{"message":"no"}', 'no'],
  ['<html>', 'The server answered with status 500.']
])('the error of %s is its message', (body, message) => {
  expect(readServerError(500, body).message).toBe(message);
});

test('a model that does not chat is not listed', () => {
  const tags = { models: [{ name: 'a', capabilities: ['embedding'] }, { name: 'b', capabilities: ['completion'] }] };
  expect(readModels(tags, null, null).map(model => model.name)).toEqual(['b']);
});

test('a model combines three responses', () => {
  const details = { quantization_level: '4bit', parameter_size: '4.0B' };
  const tags = { models: [{ name: 'a:latest', size: 9, details, capabilities: ['completion', 'thinking'] }] };
  const listed = { data: [{ id: 'a', max_model_len: 4096, source: 'hub' }] };
  const running = { models: [{ name: 'a:latest', size: 12 }] };
  expect(readModels(tags, listed, running)).toEqual([
    { name: 'a', size: 9, quantization: '4bit', parameters: '4.0B', capabilities: ['completion', 'thinking'], context: 4096, source: 'hub', resident: 12 }
  ]);
  expect(readModels({ models: [{ name: 'b' }] }, null, 'oops')).toMatchObject([{ name: 'b', context: 0, source: '', resident: null }]);
});
