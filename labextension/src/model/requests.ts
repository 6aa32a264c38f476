/** Sends requests to the endpoints of pico_jupyter. */

import { readServerError } from './wire';

/** Sends a request to a path of the server with the page's credentials. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

/** Send a request to a path below pico/. Throws a ServerError if it fails. */
export async function checkedRequest(send: Send, path: string, init: RequestInit): Promise<Response> {
  const response = await send(`pico/${path}`, init);
  if (!response.ok) {
    throw readServerError(response.status, await response.text());
  }
  return response;
}

export function post(body: unknown): RequestInit {
  return withBody('POST', body);
}

export function withBody(method: string, body: unknown): RequestInit {
  return { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}
