import { outputPlugin } from './output';
import { panelPlugin } from './panel';
import { prosePlugin } from './prose';
import { runningPlugin } from './running';
import { servicePlugin } from './service';
import { statusPlugin } from './status';

export default [servicePlugin, panelPlugin, outputPlugin, prosePlugin, statusPlugin, runningPlugin];
