/** The reasoning switch: Default, On, Off. */

import * as React from 'react';
import { supportsReasoning } from '../model/models';
import { Reasoning, REASONINGS } from '../model/types';
import { Icon } from './icons';
import { Segments } from './Segments';
import { useObservable, useServices } from './services';

export function ReasoningToggle(): React.JSX.Element {
  const { chat, trans } = useServices();
  const { reasoning } = useObservable(chat.state);
  useObservable(chat.models.state);
  const model = chat.models.chosen;
  const isDisabled = !!model && !supportsReasoning(model);
  const words: Record<Reasoning, [string, string]> = {
    default: [trans.__('Default'), trans.__("The model's default")],
    on: [trans.__('On'), trans.__('Think before answering')],
    off: [trans.__('Off'), trans.__('Answer directly')]
  };
  const reason = trans.__('%1 has no reasoning switch', model?.name ?? '');
  const segments = REASONINGS.map(value => {
    const [word, tip] = words[value];
    return { value, word, label: trans.__('Reasoning: %1', word), tip: isDisabled ? reason : tip };
  });
  return (
    <Segments
      label={isDisabled ? trans.__('Reasoning: %1', reason) : trans.__('Reasoning')}
      segments={segments}
      chosen={reasoning}
      onChoose={choice => chat.setReasoning(choice)}
      isDisabled={isDisabled}
      title={isDisabled ? reason : undefined}
    >
      <span className="pico-toggle-icon">
        <Icon name="bulb" size={14} />
        <span className="pico-toggle-word">{trans.__('Reasoning')}</span>
      </span>
    </Segments>
  );
}
