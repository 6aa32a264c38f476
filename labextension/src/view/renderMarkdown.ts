/** Renders Markdown, code and formulas as safe HTML: HTML in the source is shown as text, links open only web pages and
 * mail, and no image is loaded from another server. DOMPurify removes everything else that is unsafe. */

import DOMPurify from 'dompurify';
import { Marked, Tokens } from 'marked';
import temml from 'temml';
import { highlight } from './highlight';
import { Renderer } from './services';

const LINK = /^(https?:|mailto:|#)/i;
const DATA_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;
const BLOCK_MATH = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])/;
const INLINE_MATH = /^(?:\$\$([^\n]+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\))/;
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
      return `<pre><code class="language-${escapeHtml(language)}">${highlight(text, language)}</code></pre>`;
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
  extensions: [
    {
      name: 'blockMath',
      level: 'block',
      start: source => source.match(/\$\$|\\\[/)?.index,
      tokenizer: source => mathToken('blockMath', BLOCK_MATH.exec(source)),
      renderer: token => `<div class="pico-math" tabindex="0">${formula(token, true)}</div>`
    },
    {
      name: 'inlineMath',
      level: 'inline',
      start: source => source.match(/\$|\\\(/)?.index,
      tokenizer: source => mathToken('inlineMath', INLINE_MATH.exec(source)),
      renderer: token => formula(token, false)
    }
  ]
});

function mathToken(type: string, match: RegExpExecArray | null): Tokens.Generic | undefined {
  return match ? { type, raw: match[0], text: (match[1] ?? match[2] ?? match[3] ?? '').trim() } : undefined;
}

function formula(token: Tokens.Generic, displayMode: boolean): string {
  return temml.renderToString(String(token.text), { displayMode, throwOnError: false, trust: false, maxExpand: 500 });
}

/** The source as HTML. Deep nesting, for example a long run of ">", overflows marked's stack. Such a source is shown as text. */
function toHtml(source: string): string {
  try {
    return String(markdownParser.parse(source));
  } catch (error) {
    if (error instanceof RangeError) {
      return `<p>${escapeHtml(source)}</p>`;
    }
    throw error;
  }
}

export const renderer: Renderer = {
  markdown: source => DOMPurify.sanitize(toHtml(source), SANITIZE),
  code: (source, language) => DOMPurify.sanitize(highlight(source, language), SANITIZE)
};
