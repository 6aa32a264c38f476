/** Finds the page's Jupyter server, and the folder on it that stores conversations. */

import { HttpFolder } from '../model/httpFolder';
import { Send } from '../model/requests';
import { object, parseJson, string } from '../model/json';
import { ConversationStorage } from '../model/autosave';
import { Environment } from '../model/types';
import { broadcastPageChannel, localUnsavedStore } from '../page/browserPage';

const FOLDER = 'Chats';

export interface PageServer {
  /** Sends requests with the page's credentials. */
  readonly send: Send;
  readonly url: string;
}

/** The Jupyter server that sent this page, or null if another program sent it. */
export function pageServer(): PageServer | null {
  const config = object(parseJson(document.getElementById('jupyter-config-data')?.textContent ?? ''));
  const base = string(config.baseUrl);
  if (!base) {
    return null;
  }
  const url = new URL(base, location.origin).href;
  const token = string(config.token);
  const send: Send = (path, init) => {
    const headers = new Headers(init.headers);
    if (token) {
      headers.set('Authorization', `token ${token}`);
    }
    const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
    if (xsrf) {
      headers.set('X-XSRFToken', xsrf);
    }
    return fetch(new URL(path, url), { ...init, headers, credentials: 'same-origin', cache: 'no-store' });
  };
  return { send, url };
}

/** Whether the server has pico_jupyter. */
export async function hasPicoEndpoints(server: PageServer): Promise<boolean> {
  return (await getJson(server, 'pico/v1/models')) !== null;
}

/** The same storage that the sidebar uses, or null if the server has no contents API. */
export async function findStorage(server: PageServer, environment: Environment): Promise<ConversationStorage | null> {
  if (!(await getJson(server, 'api/contents/?content=0'))) {
    return null;
  }
  return {
    folder: new HttpFolder(server.send, await configuredFolder(server)),
    unsaved: localUnsavedStore(server.url),
    pages: broadcastPageChannel(server.url),
    environment
  };
}

async function configuredFolder(server: PageServer): Promise<string> {
  const answer = await getJson(server, 'lab/api/settings/pico-jupyter:panel');
  return string(object(answer?.settings).folder).replace(/^\/+|\/+$/g, '') || FOLDER;
}

async function getJson({ send }: PageServer, path: string): Promise<Record<string, unknown> | null> {
  try {
    const response = await send(path, { method: 'GET' });
    const isJson = (response.headers.get('content-type') ?? '').includes('json');
    return response.ok && isJson ? object(await response.json()) : null;
  } catch {
    return null;
  }
}
