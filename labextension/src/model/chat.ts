/** What one panel shows: the conversation that is open, the models, and what is about to be sent. */

import { Conversation, ConversationState, Settings, titleOf } from './conversation';
import { Keeper, openTranscript, Place, Start } from './keeper';
import { fileName, Library } from './library';
import { canReason, canTake, Models } from './models';
import { Observable } from './observable';
import { shares } from './transcript';
import { Attachment, Environment, KERNEL, Message, Offer, Reasoning, Transcript } from './types';

export interface ChatState {
  readonly conversation: Conversation;
  /** The file of the conversation, once it has one. */
  readonly file: string | null;
  readonly reasoning: Reasoning;
  readonly attachments: readonly Attachment[];
  /** What was offered last and the model cannot take. */
  readonly refused: Offer | null;
  /** All that is kept; null where nothing is. */
  readonly library: Library | null;
  /** Why the conversation could not be saved. */
  readonly saving: string | null;
}

export interface ChatOptions {
  readonly environment: Environment;
  readonly models: Models;
  readonly reasoning?: Reasoning;
  /** Where conversations are kept; without it they end with the page. */
  readonly place?: Place;
  /** Asked for every answer. */
  readonly parameters?: () => { readonly system: string; readonly temperature: number | null };
  readonly messages?: readonly Message[];
  /** Stops answers that the kernel is writing. */
  readonly stopKernel?: () => void;
}

export class Chat {
  constructor(private readonly _options: ChatOptions) {
    const { place, messages = [] } = _options;
    this.models = _options.models;
    this._place = place ?? null;
    const conversation = this._conversation(this._fresh(messages));
    this.state = new Observable<ChatState>({
      conversation,
      file: null,
      reasoning: _options.reasoning ?? 'default',
      attachments: [],
      refused: null,
      library: place ? new Library(place) : null,
      saving: null
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
      this._show(this._conversation(this._fresh(messages)), null);
    }
  }

  /** Keep conversations here from now on. `file` is where the open one was kept before the page was loaded. */
  async keepIn(place: Place, file: string): Promise<void> {
    const opened = file ? await openTranscript(file, place) : null;
    const { conversation } = this;
    this._place = place;
    if (opened && shares(opened.transcript.messages, conversation.state.get().messages)) {
      conversation.merge(opened.transcript);
      this._follow(this._keep(conversation, file, place, { ...opened, isWritten: false }));
      this.state.patch({ file });
    } else if (conversation.state.get().busy) {
      this._ensureKept(conversation);
    }
    this.state.patch({ library: new Library(place) });
  }

  /** Open a kept conversation. False: it is not there. */
  async open(name: string): Promise<boolean> {
    const running = this._keepers.get(name);
    if (running) {
      this._show(running.conversation, running);
      return true;
    }
    const place = this._place;
    const opened = place ? await openTranscript(name, place) : null;
    if (!place || !opened) {
      return false;
    }
    const keeper = this._keep(this._conversation(opened.transcript), name, place, opened);
    this._show(keeper.conversation, keeper);
    return true;
  }

  async send(content: string): Promise<void> {
    const { attachments, conversation } = this.state.get();
    if (content.trim() || attachments.length) {
      this.state.patch({ attachments: [], refused: null });
      const answered = conversation.send(content, attachments);
      this._ensureKept(conversation);
      await answered;
    }
  }

  async remove(name: string): Promise<void> {
    const keeper = this._keepers.get(name);
    this._keepers.delete(name);
    keeper?.conversation.stop();
    if (name === this.state.get().file) {
      this._show(this._conversation(), null);
    }
    await keeper?.dispose();
    await this.library?.remove(name);
  }

  async rename(name: string, title: string): Promise<void> {
    const keeper = this._keepers.get(name);
    if (keeper) {
      keeper.conversation.rename(title);
      await keeper.flush();
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
  attach(offers: readonly Offer[]): void {
    const { chosen } = this.models;
    const { environment } = this._options;
    const taken = offers.flatMap(({ kind, ...rest }) => (canTake(chosen, kind) ? [{ kind, ...rest, id: environment.newId() }] : []));
    const refused = offers.find(({ kind }) => !canTake(chosen, kind)) ?? null;
    this.state.patch({ attachments: [...this.state.get().attachments, ...taken], refused });
  }

  detach(id: string): void {
    this.state.patch({ attachments: this.state.get().attachments.filter(attachment => attachment.id !== id) });
  }

  /** Resolves when the open conversation is on disk as it is now. */
  async flush(): Promise<void> {
    await this._keepers.get(this.state.get().file ?? '')?.flush();
  }

  /** The page goes away. */
  abandon(): void {
    this._keepers.forEach(keeper => keeper.abandon());
  }

  dispose(): void {
    this._keepers.forEach(keeper => {
      keeper.conversation.stop();
      void keeper.flush().then(() => keeper.dispose());
    });
    this.conversation.stop();
  }

  private _conversation(transcript?: Transcript): Conversation {
    const { environment } = this._options;
    return new Conversation({ backend: this.models, environment, transcript, settings: () => this._settings() });
  }

  private _fresh(messages: readonly Message[]): Transcript | undefined {
    const { environment } = this._options;
    const question = messages.find(({ role }) => role === 'user');
    const title = question ? titleOf(question) : '';
    const facts = { id: environment.newId(), title, titled: 0, created: environment.now(), removed: [] };
    return messages.length ? { ...facts, messages } : undefined;
  }

  private async _settings(): Promise<Settings> {
    const { system, temperature } = this._options.parameters?.() ?? { system: '', temperature: null };
    const model = await this.models.ready();
    const reasoning = canReason(this.models.chosen) ? this.state.get().reasoning : 'default';
    return { model, reasoning, system, temperature };
  }

  private _ensureKept(conversation: Conversation): void {
    const place = this._place;
    if (place && ![...this._keepers.values()].some(keeper => keeper.conversation === conversation)) {
      const keeper = this._keep(conversation, fileName(conversation.state.get()), place, { stamp: null, isWritten: false });
      this._follow(keeper);
      if (conversation === this.conversation) {
        this.state.patch({ file: keeper.name });
      }
    }
  }

  private _keep(conversation: Conversation, name: string, place: Place, start: Start): Keeper {
    const keeper = new Keeper(conversation, name, place, start);
    this._keepers.set(name, keeper);
    return keeper;
  }

  private _show(conversation: Conversation, keeper: Keeper | null): void {
    void this.flush();
    if (!this.state.get().file) {
      this.conversation.stop(); // Nobody could come back to it.
    }
    this._follow(keeper);
    this.state.patch({ conversation, file: keeper?.name ?? null });
  }

  private _follow(keeper: Keeper | null): void {
    this._unfollow?.();
    this._unfollow = keeper?.problem.subscribe(() => this.state.patch({ saving: keeper.problem.get() }));
    this.state.patch({ saving: keeper?.problem.get() ?? null });
  }

  private _place: Place | null;
  private readonly _keepers = new Map<string, Keeper>();
  private _unfollow: (() => void) | undefined;
}
