/** The state of one panel: its open conversation, the models, and the attachments of the next message. */

import { Conversation, ConversationState, Settings, titleOf } from './conversation';
import { Autosave, ConversationStorage, loadTranscript, SavedState } from './autosave';
import { fileName, Library } from './library';
import { Models, supportsAttachment, supportsReasoning } from './models';
import { Observable } from './observable';
import { hasCommonMessage } from './transcript';
import { Act, Attachment, AttachmentCandidate, Environment, KERNEL, Message, Mode, Reasoning, Transcript } from './types';

export interface ChatState {
  readonly conversation: Conversation;
  /** The name of the conversation's file; null before the first save. */
  readonly file: string | null;
  readonly reasoning: Reasoning;
  readonly mode: Mode;
  readonly attachments: readonly Attachment[];
  /** An attachment that the model did not accept; null if it accepted all. */
  readonly rejected: AttachmentCandidate | null;
  /** The saved conversations; null without storage. */
  readonly library: Library | null;
  /** Why the last save failed; null if it succeeded. */
  readonly saveError: string | null;
}

export interface ChatOptions {
  readonly environment: Environment;
  readonly models: Models;
  readonly reasoning?: Reasoning;
  /** Where conversations are saved. Without storage they are lost when the page closes. */
  readonly storage?: ConversationStorage;
  /** Called before each answer. */
  readonly parameters?: () => { readonly system: string; readonly temperature: number | null };
  readonly messages?: readonly Message[];
  /** Stops an answer that the kernel is writing. */
  readonly stopKernel?: () => void;
}

export class Chat {
  constructor(private readonly _options: ChatOptions) {
    const { storage, messages = [] } = _options;
    this.models = _options.models;
    this._storage = storage ?? null;
    const conversation = this._newConversation(this._newTranscript(messages));
    this.state = new Observable<ChatState>({
      conversation,
      file: null,
      reasoning: _options.reasoning ?? 'default',
      mode: 'chat',
      attachments: [],
      rejected: null,
      library: storage ? new Library(storage) : null,
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

  /** Start a new conversation. The previous one stays in the library. Its running answer continues and is saved. */
  startConversation(messages: readonly Message[] = []): void {
    if (this.conversation.state.get().messages.length || messages.length) {
      this._show(this._newConversation(this._newTranscript(messages)), null);
    }
  }

  /** Save conversations in `storage` from now on. `file` is the file of the open conversation before the page was reloaded. */
  async setStorage(storage: ConversationStorage, file: string): Promise<void> {
    const opened = file ? await loadTranscript(file, storage) : null;
    const { conversation } = this;
    this._storage = storage;
    if (opened && hasCommonMessage(opened.transcript.messages, conversation.state.get().messages)) {
      conversation.merge(opened.transcript);
      this._followErrors(this._startAutosave(conversation, file, storage, { ...opened, isWritten: false }));
      this.state.patch({ file });
    } else if (conversation.state.get().busy) {
      this._ensureAutosave(conversation);
    }
    this.state.patch({ library: new Library(storage) });
  }

  /** Open a saved conversation. Resolves to false if it does not exist. */
  async open(name: string): Promise<boolean> {
    const running = this._autosaves.get(name);
    if (running) {
      this._show(running.conversation, running);
      return true;
    }
    const storage = this._storage;
    const opened = storage ? await loadTranscript(name, storage) : null;
    if (!storage || !opened) {
      return false;
    }
    const autosave = this._startAutosave(this._newConversation(opened.transcript), name, storage, opened);
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

  /** Send a request of Python code. `act` runs its turn. */
  async sendFromCode(content: string, act: Act): Promise<void> {
    const { conversation } = this;
    const answered = conversation.send(content, [], act);
    this._ensureAutosave(conversation);
    await answered;
  }

  async remove(name: string): Promise<void> {
    const autosave = this._autosaves.get(name);
    this._autosaves.delete(name);
    autosave?.conversation.stop();
    if (name === this.state.get().file) {
      this._show(this._newConversation(), null);
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

  /** Whether an answer is in progress that this panel can stop. */
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

  setMode(mode: Mode): void {
    this.state.patch({ mode });
  }

  /** Use `act` for turns in Act mode. */
  setAct(act: Act): void {
    this._act = act;
  }

  /** Attach the candidates that the chosen model accepts. The state keeps the first rejected one. */
  attach(candidates: readonly AttachmentCandidate[]): void {
    const { chosen } = this.models;
    const { environment } = this._options;
    const accepted = candidates.flatMap(({ kind, ...rest }) => (supportsAttachment(chosen, kind) ? [{ kind, ...rest, id: environment.newId() }] : []));
    const rejected = candidates.find(({ kind }) => !supportsAttachment(chosen, kind)) ?? null;
    this.state.patch({ attachments: [...this.state.get().attachments, ...accepted], rejected });
  }

  detach(id: string): void {
    this.state.patch({ attachments: this.state.get().attachments.filter(attachment => attachment.id !== id) });
  }

  /** Resolves once the open conversation is saved. */
  async flush(): Promise<void> {
    await this._autosaves.get(this.state.get().file ?? '')?.flush();
  }

  /** Store unsaved changes, because the page is closing. */
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

  private _newConversation(transcript?: Transcript): Conversation {
    const { environment } = this._options;
    const act = (): Act | null => (this.state.get().mode === 'act' ? this._act : null);
    return new Conversation({ backend: this.models, environment, transcript, settings: () => this._settings(), act });
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
    const storage = this._storage;
    if (storage && ![...this._autosaves.values()].some(autosave => autosave.conversation === conversation)) {
      const autosave = this._startAutosave(conversation, fileName(conversation.state.get()), storage, { stamp: null, isWritten: false });
      this._followErrors(autosave);
      if (conversation === this.conversation) {
        this.state.patch({ file: autosave.name });
      }
    }
  }

  private _startAutosave(conversation: Conversation, name: string, storage: ConversationStorage, start: SavedState): Autosave {
    const autosave = new Autosave(conversation, name, storage, start);
    this._autosaves.set(name, autosave);
    return autosave;
  }

  private _show(conversation: Conversation, autosave: Autosave | null): void {
    void this.flush();
    if (!this.state.get().file) {
      this.conversation.stop(); // A conversation without a file cannot be opened again.
    }
    this._followErrors(autosave);
    this.state.patch({ conversation, file: autosave?.name ?? null });
  }

  /** Report the save errors of `autosave` in the state from now on. */
  private _followErrors(autosave: Autosave | null): void {
    this._unfollowErrors?.();
    this._unfollowErrors = autosave?.problem.subscribe(() => this.state.patch({ saveError: autosave.problem.get() }));
    this.state.patch({ saveError: autosave?.problem.get() ?? null });
  }

  private _act: Act | null = null;
  private _storage: ConversationStorage | null;
  private readonly _autosaves = new Map<string, Autosave>();
  private _unfollowErrors: (() => void) | undefined;
}
