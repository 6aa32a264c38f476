/** Completes code in cells and files while the user types. The status bar shows the model, and switches completion. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { CodeEditor } from '@jupyterlab/codeeditor';
import {
  CompletionHandler, ICompletionProviderManager, IInlineCompletionContext, IInlineCompletionItem, IInlineCompletionList,
  IInlineCompletionProvider
} from '@jupyterlab/completer';
import { IDocumentWidget } from '@jupyterlab/docregistry';
import { NotebookPanel } from '@jupyterlab/notebook';
import { ServerConnection } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar, TextItem } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import { URLExt } from '@jupyterlab/coreutils';
import { Widget } from '@lumino/widgets';
import * as React from 'react';
import { languageOf, Neighbour, Place } from '../model/completionPrompt';
import { Availability, availability, Completions, CompletionSettings } from '../model/completions';
import { array, object, string } from '../model/json';
import { Observable } from '../model/observable';
import { useObservable } from '../view/services';
import { chatIcon } from './chatIcon';
import { IPico } from './pico';

const SETTINGS = 'pico-jupyter:completion';
const TOGGLE = 'pico:toggle-completion';
const TOGGLE_LANGUAGE = 'pico:toggle-completion-language';

interface Parts {
  readonly pico: IPico;
  readonly completions: Completions;
  readonly settings: Observable<CompletionSettings>;
  /** The language at the cursor; "" outside of editors. */
  readonly language: Observable<string>;
}

export const completionPlugin: JupyterFrontEndPlugin<void> = {
  id: SETTINGS,
  description: 'Inline completion by a local model.',
  autoStart: true,
  requires: [IPico, ISettingRegistry, ICompletionProviderManager],
  // Notebook 7 has no status bar.
  optional: [ICommandPalette, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    pico: IPico,
    registry: ISettingRegistry,
    manager: ICompletionProviderManager,
    palette: ICommandPalette | null,
    bar: IStatusBar | null
  ) => {
    const { serverSettings } = app.serviceManager;
    const completions = new Completions((path, init) =>
      ServerConnection.makeRequest(URLExt.join(serverSettings.baseUrl, path), init, serverSettings)
    );
    const parts = { pico, completions, settings: new Observable(readSettings({})), language: new Observable('') };
    void followSettings(registry, parts);
    // JupyterLab reads the defaults of the providers once, when the application is restored.
    manager.registerInlineProvider(new PicoProvider(parts));
    addCommands(app, registry, parts, palette);
    const item = ReactWidget.create(<CompletionStatus parts={parts} onClick={() => void app.commands.execute(TOGGLE)} />);
    item.addClass('jp-mod-highlighted');
    bar?.registerStatusItem(SETTINGS, { item, align: 'right', rank: 51 });
  }
};

function readSettings(composite: unknown): CompletionSettings {
  const values = object(composite);
  return {
    enabled: values.enabled !== false,
    model: string(values.model),
    disabledLanguages: array(values.disabledLanguages ?? ['markdown']).map(language => string(language))
  };
}

async function followSettings(registry: ISettingRegistry, { settings, completions }: Parts): Promise<void> {
  const loaded = await registry.load(SETTINGS);
  const update = (): void => {
    settings.set(readSettings(loaded.composite));
    completions.abort();
  };
  loaded.changed.connect(update);
  update();
}

function addCommands(app: JupyterFrontEnd, registry: ISettingRegistry, parts: Parts, palette: ICommandPalette | null): void {
  const { pico: { trans }, settings, language } = parts;
  const save = (name: string, value: boolean | string[]): Promise<void> => registry.set(SETTINGS, name, value);
  const isOff = (): boolean => settings.get().disabledLanguages.includes(language.get());
  app.commands.addCommand(TOGGLE, {
    label: trans.__('Inline Completion by a Local Model'),
    isToggled: () => settings.get().enabled,
    execute: () => save('enabled', !settings.get().enabled)
  });
  app.commands.addCommand(TOGGLE_LANGUAGE, {
    label: () => trans.__('Inline Completion in This Language: %1', language.get() || trans.__('none')),
    isEnabled: () => language.get() !== '',
    isToggled: () => !isOff(),
    execute: () => {
      const others = settings.get().disabledLanguages.filter(other => other !== language.get());
      return save('disabledLanguages', isOff() ? others : [...others, language.get()]);
    }
  });
  const category = trans.__('Local Models');
  [TOGGLE, TOGGLE_LANGUAGE].forEach(command => palette?.addItem({ command, category }));
}

class PicoProvider implements IInlineCompletionProvider {
  constructor(private readonly _parts: Parts) {
    this.name = _parts.pico.trans.__('Local Model');
  }

  readonly name: string;
  readonly identifier = 'pico-jupyter';
  readonly icon = chatIcon;
  readonly schema = { default: { enabled: true, debouncerDelay: 200, autoFillInMiddle: true, timeout: 10000 } };

  /** Returns an empty item at once. JupyterLab reads the suggestion from stream(). */
  async fetch(request: CompletionHandler.IRequest, { widget }: IInlineCompletionContext): Promise<IInlineCompletionList> {
    const { pico, completions, settings, language } = this._parts;
    const { text, offset } = request;
    language.set(languageOf(request.mimeType ?? ''));
    const place = {
      prefix: text.slice(0, offset),
      suffix: text.slice(offset),
      language: language.get(),
      above: cellsAbove(widget)
    };
    const available = availability(settings.get(), pico.models.state.get().models, place.language);
    if (available.kind !== 'ready' || !place.prefix.trim()) {
      completions.abort();
      return { items: [] };
    }
    completions.request(available.model, place);
    const editor = editorOf(widget);
    this._here = () => placeOf(editor, place);
    this._tokens += 1;
    return { items: [{ insertText: '', isIncomplete: true, token: String(this._tokens) }] };
  }

  async *stream(): AsyncGenerator<{ response: IInlineCompletionItem }> {
    for await (const insertText of this._parts.completions.stream(this._here)) {
      yield { response: { insertText, isIncomplete: true } };
    }
  }

  private _here: () => Place | null = () => null;
  private _tokens = 0;
}

/** The editor of the active cell or of the file. */
function editorOf(widget: Widget): CodeEditor.IEditor | null {
  if (widget instanceof NotebookPanel) {
    return widget.content.activeCell?.editor ?? null;
  }
  return (widget as IDocumentWidget<Widget & { editor?: CodeEditor.IEditor }>).content?.editor ?? null;
}

/** The place of the cursor now. An editor that is not known has not moved. */
function placeOf(editor: CodeEditor.IEditor | null, before: Place): Place | null {
  if (!editor) {
    return before;
  }
  if (editor.isDisposed) {
    return null;
  }
  const text = editor.model.sharedModel.getSource();
  const offset = editor.getOffsetAt(editor.getCursorPosition());
  return { ...before, prefix: text.slice(0, offset), suffix: text.slice(offset) };
}

function cellsAbove(widget: Widget): readonly Neighbour[] {
  if (!(widget instanceof NotebookPanel)) {
    return [];
  }
  const { widgets, activeCellIndex } = widget.content;
  return widgets.slice(0, activeCellIndex).map(({ model }) => ({ kind: neighbourKind(model.type), source: model.sharedModel.getSource() }));
}

function neighbourKind(type: string): Neighbour['kind'] {
  return type === 'code' || type === 'markdown' ? type : 'raw';
}

function CompletionStatus({ parts, onClick }: { parts: Parts; onClick: () => void }): React.JSX.Element {
  const { trans, models } = parts.pico;
  const { isBusy, failure } = useObservable(parts.completions.state);
  const settings = useObservable(parts.settings);
  const language = useObservable(parts.language);
  const available = availability(settings, useObservable(models.state).models, language);
  const { source, title } = statusTexts(available, settings, language, trans);
  const busy = isBusy && available.kind === 'ready' ? '…' : '';
  const problem = failure ? `\n${failure}` : '';
  return <TextItem source={source + busy} title={title + problem} onClick={onClick} />;
}

function statusTexts(
  available: Availability, { model }: CompletionSettings, language: string, trans: IPico['trans']
): { readonly source: string; readonly title: string } {
  const off = trans.__('Completion: off');
  switch (available.kind) {
    case 'ready':
      return { source: trans.__('Completion: %1', available.model.name), title: trans.__('%1 completes code while you type. Click to switch it off.', available.model.name) };
    case 'off':
      return { source: off, title: trans.__('Inline completion is off. Click to switch it on.') };
    case 'language-off':
      return { source: trans.__('Completion: off for %1', language), title: trans.__('The settings switch inline completion off for %1.', language) };
    case 'missing':
      return { source: trans.__('Completion: no model'), title: trans.__('%1, the model of the setting, is not on this server.', model) };
    case 'no-model':
      return { source: trans.__('Completion: no model'), title: trans.__('No model in memory reads a suffix (capability insert). Load one, or choose a model in the settings.') };
  }
}
