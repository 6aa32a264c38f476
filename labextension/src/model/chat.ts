/** What one panel shows: the conversation that is open, the models, and what is about to be sent. */

import { Conversation, ConversationState, Settings, titleOf } from './conversation';
import { Autosave, loadTranscript, ConversationStorage, SavedState } from './autosave';
import { fileName, Library } from './library';
import { supportsReasoning, supportsAttachment, Models } from './models';
import { Observable } from './observable';
import { hasCommonMessage } from './transcript';
import { Attachment, Environment, KERNEL, Message, AttachmentCandidate, Reasoning, Transcript } from './types';

export interface ChatState {
  readonly conversation: Conversation;
  /** The file of the conversation, once it has one. */
  readonly file: string | null;
  readonly reasoning: Reasoning;
  readonly attachments: readonly Attachment[];
  /** What was offered last and the model cannot take. */
  readonly rejected: AttachmentCandidate | null;
  /** All that is kept; null where nothing is. */
  readonly library: Library | null;
  /** Why the conversation could not be saved. */
  readonly saveError: string | null;
}

export interface ChatOptions {
  readonly environment: Environment;
  readonly models: Models;
  readonly reasoning?: Reasoning;
  /** Where conversations are kept; without it they end with the page. */
  readonly place?: ConversationStorage;
  /** Asked for every answer. */
  readonly parameters?: () => { readonly system: string; readonly temperature: number | null };
  readonly messages?: readonly Message[];
  /** Stops hasPicoEndpoints that the kernel is writing. */
  readonly stopKernel?: () => void;
}

export class Chat {
  constructor(private readonly _options: ChatOptions) {
    const { place, messages = [] } = _options;
    this.models = _options.models;
    this._place = place ?? null;
    const conversation = this._conversation(this._newTranscript(messages));
    this.state = new Observable<ChatState>({
      conversation,
      file: null,
      reasoning: _options.reasoning ?? 'default',
      attachments: [],
      rejected: null,
      library: place ? new Library(place) : null,
      saveError: null
    });
  }

  readonly models: Models;
  readonly state: Observable<ChatState>;

  get conversation(): Conversation {
    return this.state.get().conversation;
  }

  get library(): Library | null {
    return this.state.get().library;
  }

  /** Begin anew; what was there stays in the library, and a running answer goes on into its file. */
  begin(messages: readonly Message[] = []): void {
    if (this.conversation.state.get().messages.length || messages.length) {
      this._show(this._conversation(this._newTranscript(messages)), null);
    }
  }

  /** Keep conversations here from now on. `file` is where the open one was kept before the page was loaded. */
  async setStorage(place: ConversationStorage, file: string): Promise<void> {
    const opened = file ? await loadTranscript(file, place) : null;
    const { conversation } = this;
    this._place = place;
    if (opened && hasCommonMessage(opened.transcript.messages, conversation.state.get().messages)) {
      conversation.merge(opened.transcript);
      this._followErrors(this._startAutosave(conversation, file, place, { ...opened, isWritten: false }));
      this.state.patch({ file });
    } else if (conversation.state.get().busy) {
      this._ensureAutosave(conversation);
    }
    this.state.patch({ library: new Library(place) });
  }

  /** Open a kept conversation. False: it is not there. */
  async open(name: string): Promise<boolean> {
    const running = this._autosaves.get(name);
    if (running) {
      this._show(running.conversation, running);
      return true;
    }
    const place = this._place;
    const opened = place ? await loadTranscript(name, place) : null;
    if (!place || !opened) {
      return false;
    }
    const autosave = this._startAutosave(this._conversation(opened.transcript), name, place, opened);
    this._show(autosave.conversation, autosave);
    return true;
  }

  async send(content: string): Promise<void> {
    const { attachments, conversation } = this.state.get();
    if (content.trim() || attachments.length) {
      this.state.patch({ attachments: [], rejected: null });
      const answered = conversation.send(content, attachments);
      this._ensureAutosave(conversation);
      await answered;
    }
  }

  async remove(name: string): Promise<void> {
    const autosave = this._autosaves.get(name);
    this._autosaves.delete(name);
    autosave?.conversation.stop();
    if (name === this.state.get().file) {
      this._show(this._conversation(), null);
    }
    await autosave?.dispose();
    await this.library?.remove(name);
  }

  async rename(name: string, title: string): Promise<void> {
    const autosave = this._autosaves.get(name);
    if (autosave) {
      autosave.conversation.rename(title);
      await autosave.flush();
      await this.library?.refresh();
    } else {
      await this.library?.rename(name, title);
    }
  }

  /** Whether the open conversation gets an answer that can be stopped from here. */
  isAnswering({ busy, messages }: ConversationState): boolean {
    return busy || messages.at(-1)?.writer === KERNEL;
  }

  stop(): void {
    this.conversation.stop();
    if (this.conversation.state.get().messages.at(-1)?.writer === KERNEL) {
      this._options.stopKernel?.();
    }
  }

  setReasoning(reasoning: Reasoning): void {
    this.state.patch({ reasoning });
  }

  /** Attach what the chosen model takes; the state says what was left out. */
  attach(candidates: readonly AttachmentCandidate[]): void {
    const { chosen } = this.models;
    const { environment } = this._options;
    const taken = candidates.flatMap(({ kind, ...rest }) => (supportsAttachment(chosen, kind) ? [{ kind, ...rest, id: environment.newId() }] : []));
    const rejected = candidates.find(({ kind }) => !supportsAttachment(chosen, kind)) ?? null;
    this.state.patch({ attachments: [...this.state.get().attachments, ...taken], rejected });
  }

  detach(id: string): void {
    this.state.patch({ attachments: this.state.get().attachments.filter(attachment => attachment.id !== id) });
  }

  /** Resolves when the open conversation is on disk as it is now. */
  async flush(): Promise<void> {
    await this._autosaves.get(this.state.get().file ?? '')?.flush();
  }

  /** The page goes away. */
  stashUnsaved(): void {
    this._autosaves.forEach(autosave => autosave.stashUnsaved());
  }

  dispose(): void {
    this._autosaves.forEach(autosave => {
      autosave.conversation.stop();
      void autosave.flush().then(() => autosave.dispose());
    });
    this.conversation.stop();
  }

  private _conversation(transcript?: Transcript): Conversation {
    const { environment } = this._options;
    return new Conversation({ backend: this.models, environment, transcript, settings: () => this._settings() });
  }

  private _newTranscript(messages: readonly Message[]): Transcript | undefined {
    const { environment } = this._options;
    const question = messages.find(({ role }) => role === 'user');
    const title = question ? titleOf(question) : '';
    const facts = { id: environment.newId(), title, titled: 0, created: environment.now(), removed: [] };
    return messages.length ? { ...facts, messages } : undefined;
  }

  private async _settings(): Promise<Settings> {
    const { system, temperature } = this._options.parameters?.() ?? { system: '', temperature: null };
    const model = await this.models.ready();
    const reasoning = supportsReasoning(this.models.chosen) ? this.state.get().reasoning : 'default';
    return { model, reasoning, system, temperature };
  }

  private _ensureAutosave(conversation: Conversation): void {
    const place = this._place;
    if (place && ![...this._autosaves.values()].some(autosave => autosave.conversation === conversation)) {
      const autosave = this._startAutosave(conversation, fileName(conversation.state.get()), place, { stamp: null, isWritten: false });
      this._followErrors(autosave);
      if (conversation === this.conversation) {
        this.state.patch({ file: autosave.name });
      }
    }
  }

  private _startAutosave(conversation: Conversation, name: string, place: ConversationStorage, start: SavedState): Autosave {
    const autosave = new Autosave(conversation, name, place, start);
    this._autosaves.set(name, autosave);
    return autosave;
  }

  private _show(conversation: Conversation, autosave: Autosave | null): void {
    void this.flush();
    if (!this.state.get().file) {
      this.conversation.stop(); // Nobody could come back to it.
    }
    this._followErrors(autosave);
    this.state.patch({ conversation, file: autosave?.name ?? null });
  }

  private _followErrors(autosave: Autosave | null): void {
    this._unfollowErrors?.();
    this._unfollowErrors = autosave?.problem.subscribe(() => this.state.patch({ saveError: autosave.problem.get() }));
    this.state.patch({ saveError: autosave?.problem.get() ?? null });
  }

  private _place: ConversationStorage | null;
  private readonly _autosaves = new Map<string, Autosave>();
  private _unfollowErrors: (() => void) | undefined;
}
