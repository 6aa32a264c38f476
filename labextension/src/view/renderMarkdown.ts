/** Renders Markdown, code and formulas as safe HTML: HTML in the source is shown as text, links open only web pages and
 * mail, and no image is loaded from another server. DOMPurify removes everything else that is unsafe. */

import DOMPurify from 'dompurify';
import { Lexer, Marked, Tokens } from 'marked';
import temml from 'temml';
import { definition, LinkDefinitions } from '../model/blocks';
import { Formula, formulaBlocks, maskFormulas, readFormula, textBefore } from '../model/formulas';
import { highlight } from './highlight';
import { Renderer } from './services';

const LINK = /^(https?:|mailto:|#)/i;
const DATA_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;
const SANITIZE = {
  USE_PROFILES: { html: true, mathMl: true },
  ADD_ATTR: ['target'],
  FORBID_TAGS: ['style', 'form', 'input', 'button', 'textarea', 'select', 'iframe', 'object', 'embed', 'video', 'audio'],
  FORBID_ATTR: ['style', 'id', 'name', 'srcset', 'background', 'poster']
};

export function escapeHtml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

const markdownParser = new Marked({
  gfm: true,
  async: false,
  renderer: {
    code({ text, lang }) {
      const language = /^[\w+#-]+/.exec(lang ?? '')?.[0] ?? '';
      return `<pre dir="ltr"><code class="language-${escapeHtml(language)}">${highlight(text, language)}</code></pre>`;
    },
    codespan({ text }) {
      return `<code dir="ltr">${escapeHtml(text)}</code>`;
    },
    html({ text }) {
      return escapeHtml(text);
    },
    link({ href, title, tokens }) {
      const body = this.parser.parseInline(tokens);
      const tip = title ? ` title="${escapeHtml(title)}"` : '';
      return LINK.test(href)
        ? `<a href="${escapeHtml(href)}"${tip} target="_blank" rel="noopener noreferrer">${body}</a>`
        : `${body} (${escapeHtml(href)})`;
    },
    image({ href, text }) {
      return DATA_IMAGE.test(href)
        ? `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`
        : `[${escapeHtml(text || 'image')}: ${escapeHtml(href)}]`;
    },
    checkbox({ checked }) {
      return checked ? '☑ ' : '☐ ';
    }
  },
  tokenizer: {
    def: definition,
    // Models write a single "~" before estimates. `false` means marked's own rule.
    del: source => source.startsWith('~~') ? false : undefined
  },
  hooks: { emStrongMask: maskFormulas },
  extensions: [
    formulaBlocks(false, formulaHtml),
    {
      name: 'formula',
      level: 'inline',
      start: source => source.match(/\$|\\[([b]/)?.index,
      tokenizer: (source, tokens): Tokens.Generic | undefined => {
        const formula = readFormula(source, textBefore(tokens));
        return formula ? { type: 'formula', raw: formula.raw, formula } : undefined;
      },
      renderer: token => formulaHtml(token.formula as Formula)
    }
  ]
});

/** A formula as MathML, or its source if TeX does not understand it. */
function formulaHtml({ raw, tex, delimiter }: Formula): string {
  const displayMode = delimiter !== '$';
  try {
    const math = temml.renderToString(tex.trim(), { displayMode, throwOnError: true, trust: false, maxExpand: 500 });
    return displayMode ? `<span class="pico-math" tabindex="0">${math}</span>` : math;
  } catch {
    return `<code dir="ltr">${escapeHtml(raw)}</code>`;
  }
}

/** The source as HTML. Deep nesting, for example a long run of ">", overflows marked's stack. Such a source is shown as text. */
export function toHtml(source: string, definitions: LinkDefinitions): string {
  try {
    const lexer = new Lexer(markdownParser.defaults);
    Object.assign(lexer.tokens.links, definitions);
    return markdownParser.parser(lexer.lex(source));
  } catch (error) {
    if (error instanceof RangeError) {
      return `<p>${escapeHtml(source)}</p>`;
    }
    throw error;
  }
}

export const renderer: Renderer = {
  markdown: (source, definitions) => DOMPurify.sanitize(toHtml(source, definitions), SANITIZE),
  code: (source, language) => DOMPurify.sanitize(highlight(source, language), SANITIZE)
};
