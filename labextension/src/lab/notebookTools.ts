/** The tools of the assistant on one notebook. They change its shared model, so that the user can undo each change. */

import { PathExt } from '@jupyterlab/coreutils';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Contents } from '@jupyterlab/services';
import { CellFacts, cellText, findCell, outline, outputImages, runText, shortId } from '../act/cellTexts';
import { SeenCells } from '../act/seenCells';
import { failure, Proposal, Toolbox, ToolError, ToolResult } from '../act/toolbox';
import { array, Json, object, string } from '../model/json';
import { untilAborted } from '../model/untilAborted';
import { kernelProblem, kernelWait, untilKernelEnds } from './kernelState';
import { listFiles, readFile } from './notebookFiles';

type Note = (text: string) => void;
type Tool = (args: Json, signal: AbortSignal, note: Note) => Promise<ToolResult> | ToolResult;

/** The undo history of a shared model. Changes within half a second become one step unless it is told otherwise. */
interface Undoable {
  readonly undoManager?: { stopCapturing(): void } | null;
}

/** Create one for each turn, because it remembers what the model has read. */
export class NotebookToolbox implements Pick<Toolbox, 'propose' | 'call'> {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _contents: Contents.IManager
  ) {}

  async propose(name: string, args: Json): Promise<Proposal | ToolResult | null> {
    try {
      return this._proposals[name]?.(args) ?? null;
    } catch (error) {
      if (error instanceof ToolError) {
        return failure(error.message);
      }
      throw error;
    }
  }

  async call(name: string, args: Json, signal: AbortSignal, note: Note = () => undefined): Promise<ToolResult> {
    const tool = Object.hasOwn(this._tools, name) ? this._tools[name] : undefined;
    if (!tool) {
      return failure(`There is no tool ${name}.`);
    }
    try {
      return await tool(args, signal, note);
    } catch (error) {
      if (error instanceof ToolError) {
        return failure(error.message);
      }
      throw error;
    }
  }

  private readonly _tools: Readonly<Record<string, Tool>> = {
    read_notebook: () => this._readNotebook(),
    read_cell: args => this._readCell(this._find(args.cell)),
    insert_cell: args => this._insert(args),
    edit_cell: args => this._edit(args),
    delete_cell: args => this._delete(args),
    run_cell: (args, signal, note) => this._run(this._find(args.cell), signal, note),
    read_file: async args => ({ text: await readFile(this._contents, this._folder, string(args.path)) }),
    list_files: async args => ({ text: await listFiles(this._contents, this._folder, string(args.path)) })
  };

  private readonly _proposals: Readonly<Record<string, (args: Json) => Proposal>> = {
    insert_cell: args => {
      this._requireWritable();
      const after = string(args.after);
      return { kind: 'insert', source: sourceOf(args), after: after ? this._short(this._find(after)) : null };
    },
    edit_cell: args => {
      const { cell, after } = this._edited(args);
      return { kind: 'edit', cell: this._short(cell), before: cell.source, after };
    },
    delete_cell: args => {
      const cell = this._deletable(args);
      return { kind: 'delete', cell: this._short(cell), before: cell.source };
    },
    run_cell: args => {
      const cell = this._find(args.cell);
      return { kind: 'run', cell: this._short(cell), source: cell.source };
    }
  };

  private _readNotebook(): ToolResult {
    const cells = this._cells();
    // The outline contains the whole source of a cell with one line.
    cells.filter(({ source }) => !source.includes('\n')).forEach(({ id, source }) => this._seen.note(id, source));
    return { text: outline(PathExt.basename(this._panel.context.path), cells) };
  }

  private _readCell(cell: CellFacts): ToolResult {
    this._seen.note(cell.id, cell.source);
    return { text: cellText(cell, this._ids()), images: outputImages(cell.outputs) };
  }

  private _insert(args: Json): ToolResult {
    this._requireWritable();
    const index = this._insertionIndex(string(args.after));
    const source = sourceOf(args);
    const { sharedModel } = this._notebook;
    let id = '';
    this._change(sharedModel, () => {
      const isCode = args.kind !== 'markdown';
      const cell = sharedModel.insertCell(index, { cell_type: isCode ? 'code' : 'markdown', source, metadata: isCode ? { trusted: true } : {} });
      id = cell.getId();
    });
    this._inserted = id;
    this._seen.note(id, source);
    void this._panel.content.scrollToItem(index);
    return { text: `Inserted cell ${shortId(id, this._ids())}.` };
  }

  /** Below the named cell, else below the last inserted cell, else below the active one. */
  private _insertionIndex(after: string): number {
    const ids = this._ids();
    if (after) {
      return ids.indexOf(this._find(after).id) + 1;
    }
    const last = ids.indexOf(this._inserted);
    return (last >= 0 ? last : Math.min(this._panel.content.activeCellIndex, ids.length - 1)) + 1;
  }

  private _edit(args: Json): ToolResult {
    const { cell, after } = this._edited(args);
    const shared = this._notebook.sharedModel.cells[this._ids().indexOf(cell.id)];
    this._change(shared, () => shared.setSource(after));
    this._seen.note(cell.id, after);
    return { text: `Changed cell ${this._short(cell)}.` };
  }

  /** The cell of an edit, and its source after it. */
  private _edited(args: Json): { cell: CellFacts; after: string } {
    this._requireWritable();
    const cell = this._find(args.cell);
    this._requireMeta(cell, 'editable', 'The cell is read-only. Do not change it.');
    this._seen.requireSeen(cell.id, cell.source);
    if (typeof args.source === 'string') {
      return { cell, after: args.source };
    }
    const find = string(args.find);
    const count = find ? cell.source.split(find).length - 1 : 0;
    if (typeof args.replace !== 'string' || count !== 1) {
      throw new ToolError(`Give the whole source, or a text to find that occurs once. The cell contains:\n${cell.source}`);
    }
    const { replace } = args;
    return { cell, after: cell.source.replace(find, () => replace) };
  }

  private _delete(args: Json): ToolResult {
    const cell = this._deletable(args);
    const name = this._short(cell);
    const { sharedModel } = this._notebook;
    this._change(sharedModel, () => {
      sharedModel.deleteCell(this._ids().indexOf(cell.id));
      if (!sharedModel.cells.length) {
        sharedModel.insertCell(0, { cell_type: 'code', metadata: { trusted: true } });
      }
    });
    this._seen.forget(cell.id);
    return { text: `Deleted cell ${name}.` };
  }

  private _deletable(args: Json): CellFacts {
    this._requireWritable();
    const cell = this._find(args.cell);
    this._requireMeta(cell, 'deletable', 'The cell is protected. Do not delete it.');
    this._seen.requireUnchanged(cell.id, cell.source);
    return cell;
  }

  private async _run(cell: CellFacts, signal: AbortSignal, note: Note): Promise<ToolResult> {
    const { content, sessionContext } = this._panel;
    const isCode = cell.kind === 'code';
    if (isCode) {
      note(kernelWait(sessionContext));
      await untilAborted(sessionContext.ready, signal);
      const problem = kernelProblem(sessionContext);
      if (problem) {
        throw new ToolError(problem);
      }
      note(kernelWait(sessionContext));
      if (this._find(cell.id).source !== cell.source) {
        throw new ToolError('The cell changed before it could run. Read it again.');
      }
    }
    const widget = content.widgets.find(({ model }) => model.id === cell.id);
    const run = widget ? NotebookActions.runCells(content, [widget], sessionContext) : Promise.resolve(false);
    const isDone = await untilAborted(isCode ? untilKernelEnds(run, sessionContext) : run, signal);
    const { outputs } = this._find(cell.id);
    const result = { text: runText(outputs), images: outputImages(outputs) };
    if (!isDone && !outputs.some(output => object(output).output_type === 'error')) {
      throw new ToolError('The cell was not run to its end, because the kernel was restarted or died.');
    }
    return result;
  }

  private get _notebook(): NonNullable<NotebookPanel['content']['model']> {
    const { context, content, isDisposed } = this._panel;
    if (isDisposed || context.isDisposed || !content.model) {
      throw new ToolError('The notebook was closed. Stop, and say so.');
    }
    return content.model;
  }

  private get _folder(): string {
    return PathExt.dirname(this._contents.localPath(this._panel.context.path));
  }

  private _cells(): CellFacts[] {
    return Array.from(this._notebook.cells, cell => {
      const { execution_count: count, outputs } = object(cell.toJSON());
      const source = cell.sharedModel.getSource();
      return { id: cell.id, kind: cell.type, source, count: typeof count === 'number' ? count : null, outputs: array(outputs) };
    });
  }

  private _ids(): string[] {
    return this._cells().map(({ id }) => id);
  }

  private _find(cell: unknown): CellFacts {
    return findCell(this._cells(), string(cell));
  }

  private _short({ id }: CellFacts): string {
    return shortId(id, this._ids());
  }

  private _requireWritable(): void {
    if (this._notebook.readOnly || this._panel.context.contentsModel?.writable === false) {
      throw new ToolError('The notebook is read-only. Do not change it.');
    }
  }

  private _requireMeta({ id }: CellFacts, key: 'editable' | 'deletable', problem: string): void {
    if (this._notebook.sharedModel.cells[this._ids().indexOf(id)].getMetadata(key) === false) {
      throw new ToolError(problem);
    }
  }

  /** Makes a change one step of the undo history. */
  private _change(model: { transact(change: () => void): void } & Undoable, change: () => void): void {
    model.undoManager?.stopCapturing();
    model.transact(change);
    model.undoManager?.stopCapturing();
  }

  private readonly _seen = new SeenCells();
  /** The id of the cell that was inserted last. */
  private _inserted = '';
}

function sourceOf({ source }: Json): string {
  if (typeof source !== 'string') {
    throw new ToolError('Give the source of the new cell.');
  }
  return source;
}
