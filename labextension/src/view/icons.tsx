/** The panel's icons, in the colour of the text. */

import * as React from 'react';

const PATHS = {
  send: <path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />,
  stop: <rect x="7" y="7" width="10" height="10" rx="1.5" fill="currentColor" stroke="none" />,
  plus: <path d="M12 5v14M5 12h14" />,
  clip: <path d="m20 11.5-8.1 8.1a5 5 0 0 1-7.1-7.1l8.5-8.4a3.3 3.3 0 0 1 4.7 4.7l-8.4 8.4a1.7 1.7 0 0 1-2.4-2.4l7.7-7.6" />,
  copy: <><rect x="9" y="9" width="11" height="11" rx="2" /><path d="M5 15H4.5A1.5 1.5 0 0 1 3 13.5v-9A1.5 1.5 0 0 1 4.5 3h9A1.5 1.5 0 0 1 15 4.5V5" /></>,
  check: <path d="m5 12.5 4.5 4.5L19 7.5" />,
  redo: <><path d="M20 11.5a8 8 0 1 0-2.3 5.7" /><path d="M20.5 5.5v6h-6" /></>,
  edit: <path d="M4 20h4L19.5 8.5a2.1 2.1 0 0 0-3-3L5 17v3ZM14.5 7.5l3 3" />,
  trash: <path d="M4 7h16M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7M10 11v5M14 11v5" />,
  close: <path d="m6.5 6.5 11 11m0-11-11 11" />,
  down: <path d="m6.5 9.5 5.5 5.5 5.5-5.5" />,
  right: <path d="m9.5 6.5 5.5 5.5-5.5 5.5" />,
  bulb: <path d="M9 18h6M10 21h4M12 3a6 6 0 0 0-3.6 10.8c.7.6 1.1 1.3 1.1 2.2h5c0-.9.4-1.6 1.1-2.2A6 6 0 0 0 12 3Z" />,
  image: <><rect x="3.5" y="4.5" width="17" height="15" rx="2" /><circle cx="9" cy="10" r="1.7" /><path d="m4 18 5-4.5 3.5 3 3.5-4 4.5 5" /></>,
  video: <><rect x="3" y="6" width="12.5" height="12" rx="2" /><path d="m15.5 11 5.5-3.2v8.4L15.5 13" /></>,
  tools: <path d="M14.7 6.3a4.2 4.2 0 0 1 5.3-1.4l-2.9 2.9.6 2.5 2.5.6 2.9-2.9A4.2 4.2 0 0 1 17 13.7L9 21.5a2.1 2.1 0 0 1-3-3l8-8a4.2 4.2 0 0 1 .7-4.2Z" transform="scale(.88) translate(.6 .4)" />,
  file: <path d="M6 3.5h7.5L18.5 8.5v12h-12.5zM13.5 3.5v5h5" />,
  cell: <><rect x="3.5" y="5" width="17" height="14" rx="2" /><path d="m7.5 9.5 2.5 2.5-2.5 2.5M12.5 15h4" /></>,
  below: <><rect x="4" y="3.5" width="16" height="8" rx="1.5" /><path d="M12 14v6.5M8.8 17.2h6.4" /></>,
  swap: <path d="M4 8.5h14l-3.5-3.5M20 15.5H6l3.5 3.5" />,
  chat: <path d="M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-5 4v-4A2.5 2.5 0 0 1 4 13.5z" />,
  alert: <path d="M12 4 2.8 19.5h18.4L12 4ZM12 10v4.5M12 16.8v.2" />,
  history: <><path d="M4 12a8 8 0 1 0 2.5-5.8M4 4.5v4.2h4.2" /><path d="M12 8v4.4l3 1.8" /></>,
  more: <path d="M6 12h.01M12 12h.01M18 12h.01" strokeWidth="2.6" />,
  eject: <path d="M12 5.5 5.5 13h13L12 5.5ZM5.5 18h13" />,
  cursor: <path d="M9 4h2c.6 0 1 .4 1 1v14c0 .6-.4 1-1 1H9M15 4h-2M15 20h-2" />,
  play: <path d="M8 5.5 18 12 8 18.5z" />,
  folder: <path d="M3.5 6.5h6l2 2.5h9v9.5h-17z" />,
  download: <path d="M12 4v11M7 10.5 12 15.5l5-5M5 19.5h14" />,
  lock: <><rect x="5.5" y="10.5" width="13" height="9" rx="2" /><path d="M8.5 10.5V8a3.5 3.5 0 0 1 7 0v2.5" /></>,
  search: <><circle cx="10.5" cy="10.5" r="6" /><path d="m15 15 5 5" /></>
} satisfies Record<string, React.ReactNode>;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }): React.JSX.Element {
  return (
    <svg className="pico-icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
      strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      {PATHS[name]}
    </svg>
  );
}
