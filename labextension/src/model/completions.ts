/** Inline completion: at most one request at a time. Typing along a suggestion sends no request. */

import { canInsert, completionModel, completionRequest, fit, Place } from './completionPrompt';
import { array, object, parseJson, string } from './json';
import { Observable } from './observable';
import { checkedRequest, post, Send } from './requests';
import { readEvents } from './sse';
import { Model } from './types';
import { readChunk, reasonOf, ServerError } from './wire';

export interface CompletionSettings {
  readonly enabled: boolean;
  /** "" for the smallest model in memory that reads a suffix. */
  readonly model: string;
  readonly disabledLanguages: readonly string[];
}

export interface CompletionState {
  readonly isBusy: boolean;
  /** Why the last request failed. */
  readonly failure: string | null;
}

/** Why nothing is completed in a language, or the model that completes. */
export type Availability =
  | { readonly kind: 'ready'; readonly model: Model }
  | { readonly kind: 'off' | 'language-off' | 'no-model' | 'missing' };

export function availability(settings: CompletionSettings, models: readonly Model[], language: string): Availability {
  if (!settings.enabled) {
    return { kind: 'off' };
  }
  if (settings.disabledLanguages.includes(language)) {
    return { kind: 'language-off' };
  }
  const model = completionModel(models, settings.model);
  return model ? { kind: 'ready', model } : { kind: settings.model ? 'missing' : 'no-model' };
}

/** One request, and what it has suggested so far. */
class Suggestion {
  constructor(readonly model: Model, readonly place: Place) {}

  readonly answer = new Observable({ text: '', isDone: false });
  readonly abort = new AbortController();

  append(piece: string): void {
    const { text } = this.answer.get();
    this.answer.patch({ text: text + piece });
  }

  end(): void {
    this.answer.patch({ isDone: true });
  }

  /** The rest of the suggestion at a place that was reached by typing along; null if the user typed something else. */
  rest(place: Place): string | null {
    const { prefix, suffix, language } = this.place;
    if (place.suffix !== suffix || place.language !== language || !place.prefix.startsWith(prefix)) {
      return null;
    }
    const typed = place.prefix.slice(prefix.length);
    const text = fit(this.answer.get().text, this.place, !canInsert(this.model));
    return text.startsWith(typed) ? text.slice(typed.length) : null;
  }

  /** Resolves at the next change of the answer. */
  changed(): Promise<void> {
    return new Promise(resolve => {
      const stop = this.answer.subscribe(() => {
        stop();
        resolve();
      });
    });
  }
}

export class Completions {
  constructor(private readonly _send: Send) {}

  readonly state = new Observable<CompletionState>({ isBusy: false, failure: null });

  /** Begin to complete a place. A running request continues if the user typed along its suggestion, else it is aborted. */
  request(model: Model, place: Place): void {
    const last = this._suggestion;
    if (last && last.model.name === model.name && this._fits(last, place)) {
      return;
    }
    this.abort();
    this._suggestion = new Suggestion(model, place);
    void this._run(this._suggestion);
  }

  /** Yields the whole rest of the suggestion each time that it grows. `here` is the cursor's place; null ends the stream. */
  async *stream(here: () => Place | null): AsyncGenerator<string, void> {
    const suggestion = this._suggestion;
    let last = '';
    while (suggestion && suggestion === this._suggestion) {
      const { isDone } = suggestion.answer.get();
      const place = here();
      const rest = place && suggestion.rest(place);
      if (rest === null) {
        return;
      }
      if (rest && rest !== last) {
        yield (last = rest);
      }
      if (isDone) {
        return;
      }
      if (suggestion.answer.get().isDone === isDone && suggestion.rest(place ?? suggestion.place) === rest) {
        await suggestion.changed();
      }
    }
  }

  /** Abort the running request, and forget the suggestion. */
  abort(): void {
    this._suggestion?.abort.abort();
    this._suggestion?.end();
    this._suggestion = null;
  }

  private _fits(suggestion: Suggestion, place: Place): boolean {
    const rest = suggestion.rest(place);
    const { isDone } = suggestion.answer.get();
    return rest !== null && (rest !== '' || !isDone);
  }

  private async _run(suggestion: Suggestion): Promise<void> {
    this.state.set({ isBusy: true, failure: null });
    try {
      for await (const piece of this._pieces(suggestion)) {
        suggestion.append(piece);
      }
      this._settle(suggestion, null);
    } catch (error) {
      this._settle(suggestion, suggestion.abort.signal.aborted ? null : reasonOf(error));
    }
  }

  private _settle(suggestion: Suggestion, failure: string | null): void {
    suggestion.end();
    if (this._suggestion === suggestion || this._suggestion === null) {
      this.state.set({ isBusy: false, failure });
    }
  }

  private async *_pieces({ model, place, abort: { signal } }: Suggestion): AsyncGenerator<string, void> {
    const { path, body } = completionRequest(model, place);
    const response = await checkedRequest(this._send, path, { ...post(body), signal });
    if (!response.body) {
      throw new ServerError('The server sent no answer.');
    }
    for await (const event of readEvents(response.body)) {
      if (event.kind === 'data') {
        yield readPiece(event.data);
      }
    }
  }

  private _suggestion: Suggestion | null = null;
}

/** The text of a chunk of either endpoint. Throws a ServerError for an error. */
export function readPiece(payload: string): string {
  const texts = (readChunk(payload) ?? []).map(delta => (delta.kind === 'text' ? delta.text : ''));
  const choice = object(array(object(parseJson(payload)).choices)[0]);
  return texts.join('') + string(choice.text);
}
