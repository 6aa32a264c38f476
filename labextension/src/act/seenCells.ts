/** Remembers the cells that the model has read. It may change a cell only if the cell has not changed since. */

import { ToolError } from './toolbox';

export class SeenCells {
  /** The model has read this source, or has written it. */
  note(id: string, source: string): void {
    this._sources.set(id, source);
  }

  forget(id: string): void {
    this._sources.delete(id);
  }

  /** Throws a ToolError if the model has not read this source. The error contains the source, so the next try can succeed. */
  requireSeen(id: string, source: string): void {
    if (!this._sources.has(id)) {
      this.note(id, source);
      throw new ToolError(`Read a cell before you change it. This cell contains:\n${source}`);
    }
    this.requireUnchanged(id, source);
  }

  /** Throws a ToolError if the model has read another source of this cell. */
  requireUnchanged(id: string, source: string): void {
    if (this._sources.has(id) && this._sources.get(id) !== source) {
      this.note(id, source);
      throw new ToolError(`The cell has changed since you read it. Now it contains:\n${source}`);
    }
  }

  private readonly _sources = new Map<string, string>();
}
