/** Shows what a model supports. */

import * as React from 'react';
import { Icon, IconName } from './icons';
import { useServices } from './services';

interface BadgesProps {
  readonly capabilities: readonly string[];
  readonly children?: React.ReactNode;
}

export function Badges({ capabilities, children }: BadgesProps): React.JSX.Element {
  const { trans } = useServices();
  const badges: readonly [string, IconName, string][] = [
    ['thinking', 'bulb', trans.__('Reasoning')],
    ['vision', 'image', trans.__('Images')],
    ['video', 'video', trans.__('Video')],
    ['tools', 'tools', trans.__('Tools')]
  ];
  return (
    <div className="pico-badges">
      {badges.map(
        ([capability, icon, label]) =>
          capabilities.includes(capability) && (
            <span key={capability} className="pico-badge">
              <Icon name={icon} size={12} /> {label}
            </span>
          )
      )}
      {children}
    </div>
  );
}
