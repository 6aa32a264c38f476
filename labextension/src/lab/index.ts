import { outputPlugin } from './cellOutput';
import { cellTasksPlugin } from './cellTasks';
import { errorPlugin } from './errorOutput';
import { pageLinkPlugin } from './pageLink';
import { panelPlugin } from './panelPlugin';
import { completionPlugin } from './completionPlugin';
import { lineWrapPlugin } from './lineWrap';
import { runningPlugin } from './runningModels';
import { servicePlugin } from './pico';
import { statusPlugin } from './statusBar';

export default [
  servicePlugin, panelPlugin, outputPlugin, lineWrapPlugin, statusPlugin, runningPlugin, cellTasksPlugin, errorPlugin, pageLinkPlugin,
  completionPlugin
];
