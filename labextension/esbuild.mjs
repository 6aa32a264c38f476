// Bundles the anywidget module with its dependencies and its style.
import { build } from 'esbuild';

const out = '../pico_jupyter/static';
const common = { bundle: true, minify: true, target: ['es2022'], legalComments: 'none', logLevel: 'warning' };

await build({
  ...common,
  entryPoints: { widget: 'src/widget/index.tsx' },
  outdir: out,
  format: 'esm',
  define: { 'process.env.NODE_ENV': '"production"' }
});
await build({ ...common, entryPoints: { widget: 'style/index.css' }, outdir: out });
