/** The reasoning switch: Default, On, Off. */

import * as React from 'react';
import { supportsReasoning } from '../model/models';
import { Reasoning, REASONINGS } from '../model/types';
import { Icon } from './icons';
import { useObservable, useServices } from './services';

const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export function ReasoningToggle(): React.JSX.Element {
  const { chat, trans } = useServices();
  const { reasoning } = useObservable(chat.state);
  useObservable(chat.models.state);
  const model = chat.models.chosen;
  const isDisabled = !!model && !supportsReasoning(model);
  const group = React.useRef<HTMLDivElement>(null);
  const words: Record<Reasoning, [string, string]> = {
    default: [trans.__('Default'), trans.__("The model's default")],
    on: [trans.__('On'), trans.__('Think before answering')],
    off: [trans.__('Off'), trans.__('Answer directly')]
  };
  const reason = trans.__('%1 has no reasoning switch', model?.name ?? '');
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = STEPS[event.key];
    if (step && !isDisabled) {
      event.preventDefault();
      const next = (REASONINGS.indexOf(reasoning) + step + REASONINGS.length) % REASONINGS.length;
      chat.setReasoning(REASONINGS[next]);
      group.current?.querySelectorAll<HTMLElement>('[role=radio]')[next]?.focus();
    }
  };
  return (
    <div
      ref={group}
      className="pico-toggle"
      role="radiogroup"
      aria-label={isDisabled ? trans.__('Reasoning: %1', reason) : trans.__('Reasoning')}
      aria-disabled={isDisabled || undefined}
      title={isDisabled ? reason : undefined}
      onKeyDown={onKeyDown}
    >
      <span className="pico-toggle-icon">
        <Icon name="bulb" size={14} />
        <span className="pico-toggle-word">{trans.__('Reasoning')}</span>
      </span>
      {REASONINGS.map(choice => {
        const [word, tip] = words[choice];
        const isChecked = reasoning === choice;
        return (
          <button
            key={choice}
            type="button"
            role="radio"
            aria-checked={isChecked}
            aria-label={trans.__('Reasoning: %1', word)}
            tabIndex={isChecked ? 0 : -1}
            disabled={isDisabled}
            title={isDisabled ? reason : tip}
            onClick={() => chat.setReasoning(choice)}
          >
            {word}
          </button>
        );
      })}
    </div>
  );
}
