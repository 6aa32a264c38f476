/** Renders text of a model block by block. While the text grows, only changed blocks are rendered again. */

import * as React from 'react';
import { createPortal } from 'react-dom';
import { Block, BlockSplitter, LinkDefinitions, mergeDefinitions } from '../model/blocks';
import { CodeCard } from './CodeCard';
import { useObservable, useServices } from './services';

export const Markdown = React.memo(function Markdown({ source, isLive }: { source: string; isLive: boolean }) {
  const splitter = React.useRef(new BlockSplitter());
  const blocks = React.useMemo(() => splitter.current.update(source), [source]);
  // Growing answers use no link definitions, because a new definition would render all blocks again.
  const definitions = React.useMemo(
    () => mergeDefinitions(isLive ? [] : blocks.map(block => block.definitions)),
    [blocks, isLive]
  );
  return (
    <div className={`pico-md jp-RenderedHTMLCommon${isLive ? ' pico-live' : ''}`}>
      {blocks.map((block, index) => {
        switch (block.kind) {
          case 'code':
            return <CodeCard key={index} source={block.source} language={block.language} isLive={isLive && index === blocks.length - 1} />;
          case 'markdown':
            return <Prose key={index} block={block} definitions={definitions} />;
          case 'definitions':
            return null;
        }
      })}
    </div>
  );
});

interface NestedCode {
  readonly container: HTMLElement;
  readonly source: string;
  readonly language: string;
}

/** A block of Markdown. Code inside it, for example in a list, is shown in a CodeCard too. */
const Prose = React.memo(function Prose({ block, definitions }: { block: Block; definitions: LinkDefinitions }) {
  const renderer = useObservable(useServices().renderer);
  const box = React.useRef<HTMLDivElement>(null);
  const [nested, setNested] = React.useState<readonly NestedCode[]>([]);
  React.useLayoutEffect(() => {
    const element = box.current;
    if (element && renderer) {
      element.innerHTML = renderer.markdown(block.source, definitions);
      const cards = [...element.querySelectorAll('pre')].map(extractCode);
      setNested(before => (cards.length || before.length ? cards : before));
    }
  }, [block, definitions, renderer]);
  return (
    <>
      <div className="pico-block" dir="auto" ref={box}>
        {renderer ? null : block.source}
      </div>
      {nested.map(({ container, ...code }, index) => createPortal(<CodeCard {...code} isLive={false} />, container, String(index)))}
    </>
  );
});

function extractCode(pre: HTMLPreElement): NestedCode {
  const language = /language-([\w+#-]+)/.exec(pre.firstElementChild?.className ?? '')?.[1] ?? '';
  const container = document.createElement('div');
  const source = (pre.textContent ?? '').replace(/\n$/, '');
  pre.replaceWith(container);
  return { container, source, language };
}
