/** Shared controls: buttons and popovers. */

import * as React from 'react';
import { Icon, IconName } from './icons';
import { useServices } from './services';

const COPIED_MS = 1200;

interface IconButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: () => void;
  readonly disabled?: boolean;
  readonly size?: number;
  /** Whether the button has the focus when it appears. */
  readonly autoFocus?: boolean;
}

export function IconButton({ icon, label, size, ...rest }: IconButtonProps): React.JSX.Element {
  return (
    <button type="button" className="pico-icon-button" aria-label={label} title={label} {...rest}>
      <Icon name={icon} size={size} />
    </button>
  );
}

export function CopyButton({ label, text, size }: { label: string; text: string; size?: number }): React.JSX.Element {
  const { trans } = useServices();
  const [isDone, setDone] = React.useState(false);
  React.useEffect(() => {
    if (isDone) {
      const timer = setTimeout(() => setDone(false), COPIED_MS);
      return () => clearTimeout(timer);
    }
    return undefined;
  }, [isDone]);
  const copy = (): void => void copyText(text).then(() => setDone(true));
  return <IconButton icon={isDone ? 'check' : 'copy'} label={isDone ? trans.__('Copied') : label} size={size} onClick={copy} />;
}

/** Copies a text. Pages without TLS have no navigator.clipboard; there the text is copied from a temporary element. */
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

interface PopoverProps {
  readonly icon?: IconName;
  readonly label: string;
  /** The button's content instead of an icon. */
  readonly face?: React.ReactNode;
  readonly className?: string;
  readonly kind: 'listbox' | 'menu' | 'dialog';
  readonly onOpen?: () => void;
  readonly children: (close: () => void) => React.ReactNode;
}

/** A button with a popover. Escape, a click outside and a focus change close it. */
export function Popover({ icon, label, face, className, kind, onOpen, children }: PopoverProps): React.JSX.Element {
  const [isOpen, setOpen] = React.useState(false);
  const root = React.useRef<HTMLDivElement>(null);
  const button = React.useRef<HTMLButtonElement>(null);
  React.useEffect(() => {
    if (!isOpen) {
      return undefined;
    }
    const closeOutside = (event: Event): void => {
      if (!root.current?.contains(event.composedPath()[0] as Node)) {
        setOpen(false);
      }
    };
    document.addEventListener('pointerdown', closeOutside, true);
    document.addEventListener('focusin', closeOutside, true);
    return () => {
      document.removeEventListener('pointerdown', closeOutside, true);
      document.removeEventListener('focusin', closeOutside, true);
    };
  }, [isOpen]);
  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };
  const toggle = (): void => {
    setOpen(!isOpen);
    if (!isOpen) {
      onOpen?.();
    }
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Escape' && isOpen) {
      event.stopPropagation();
      close();
    }
  };
  return (
    <div className={`pico-anchor ${className ?? ''}`} ref={root} onKeyDown={onKeyDown}>
      <button
        ref={button}
        type="button"
        className={face ? 'pico-face-button' : 'pico-icon-button'}
        aria-haspopup={kind}
        aria-expanded={isOpen}
        aria-label={label}
        title={label}
        onClick={toggle}
      >
        {face ?? (icon && <Icon name={icon} />)}
      </button>
      {isOpen && <div className="pico-popover">{children(close)}</div>}
    </div>
  );
}

interface ConfirmedActionProps {
  /** The name of the action, for example "Delete". */
  readonly action: string;
  readonly label: string;
  readonly icon: IconName;
  readonly question: string;
  readonly onConfirm: () => void;
}

/** A button whose action deletes something: it asks first. Escape keeps everything. */
export function ConfirmedAction({ action, label, icon, question, onConfirm }: ConfirmedActionProps): React.JSX.Element {
  const { trans } = useServices();
  // false: the user keeps everything, and the focus returns to the button.
  const [isAsking, setAsking] = React.useState<boolean | null>(null);
  if (!isAsking) {
    return <IconButton icon={icon} size={14} label={label} autoFocus={isAsking === false} onClick={() => setAsking(true)} />;
  }
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      setAsking(false);
    }
  };
  return (
    <div className="pico-confirm" role="group" aria-label={question} onKeyDown={onKeyDown}>
      <span>{question}</span>
      <KeepButton label={trans.__('Keep')} onClick={() => setAsking(false)} />
      <button
        type="button"
        className="pico-button pico-danger"
        onClick={() => {
          setAsking(null);
          onConfirm();
        }}
      >
        {action}
      </button>
    </div>
  );
}

function KeepButton({ label, onClick }: { label: string; onClick: () => void }): React.JSX.Element {
  const button = useFocus<HTMLButtonElement>();
  return (
    <button ref={button} type="button" className="pico-button" onClick={onClick}>
      {label}
    </button>
  );
}

/** A text of the server, in which addresses are links. */
export function LinkedText({ text }: { text: string }): React.JSX.Element {
  const parts = text.split(/(https?:\/\/[^\s,]*[^\s,.])/);
  return (
    <>
      {parts.map((part, index) =>
        index % 2 ? (
          <a key={index} href={part} target="_blank" rel="noopener noreferrer">
            {part}
          </a>
        ) : (
          part
        )
      )}
    </>
  );
}

/** Returns a ref whose element gets the focus when it is rendered for the first time. */
export function useFocus<T extends HTMLElement>(): React.RefObject<T> {
  const ref = React.useRef<T>(null);
  React.useEffect(() => ref.current?.focus(), []);
  return ref;
}
