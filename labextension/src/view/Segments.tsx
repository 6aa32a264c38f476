/** A switch with a few choices, of which one is chosen. The arrow keys move the choice. */

import * as React from 'react';

const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export interface Segment<T> {
  readonly value: T;
  readonly word: string;
  /** What readers hear. */
  readonly label: string;
  readonly tip: string;
}

interface SegmentsProps<T> {
  readonly label: string;
  readonly segments: readonly Segment<T>[];
  readonly chosen: T;
  readonly onChoose: (value: T) => void;
  readonly isDisabled?: boolean;
  readonly title?: string;
  readonly className?: string;
  /** What is before the segments. */
  readonly children?: React.ReactNode;
}

export function Segments<T extends string>(props: SegmentsProps<T>): React.JSX.Element {
  const { segments, chosen, onChoose, isDisabled = false } = props;
  const group = React.useRef<HTMLDivElement>(null);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = STEPS[event.key];
    if (step && !isDisabled) {
      event.preventDefault();
      const next = (segments.findIndex(({ value }) => value === chosen) + step + segments.length) % segments.length;
      onChoose(segments[next].value);
      group.current?.querySelectorAll<HTMLElement>('[role=radio]')[next]?.focus();
    }
  };
  return (
    <div
      ref={group}
      className={`pico-toggle ${props.className ?? ''}`}
      role="radiogroup"
      aria-label={props.label}
      aria-disabled={isDisabled || undefined}
      title={props.title}
      onKeyDown={onKeyDown}
    >
      {props.children}
      {segments.map(({ value, word, label, tip }) => (
        <button
          key={value}
          type="button"
          role="radio"
          aria-checked={chosen === value}
          aria-label={label}
          tabIndex={chosen === value ? 0 : -1}
          disabled={isDisabled}
          title={tip}
          onClick={() => onChoose(value)}
        >
          {word}
        </button>
      ))}
    </div>
  );
}
