// Besides the recommended rules: src/model and src/act use no DOM, src/view uses no network, and only src/lab imports JupyterLab.
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

const dom = ['document', 'window', 'localStorage', 'sessionStorage', 'navigator', 'location', 'fetch'];
const network = ['fetch', 'XMLHttpRequest', 'WebSocket', 'EventSource', 'localStorage', 'sessionStorage'];
const applications = { group: ['@jupyterlab/*', '@lumino/*'], message: 'Only src/lab imports JupyterLab.' };

export default tseslint.config(
  { ignores: ['lib', 'node_modules', '.yarn'] },
  ...tseslint.configs.recommended,
  {
    files: ['src/**/*.{ts,tsx}', 'tests/**/*.ts'],
    plugins: { 'react-hooks': reactHooks },
    rules: {
      'react-hooks/rules-of-hooks': 'error',
      'react-hooks/exhaustive-deps': 'error',
      '@typescript-eslint/explicit-function-return-type': ['error', { allowExpressions: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      'max-lines': ['error', 400],
      'no-console': ['error', { allow: ['warn', 'error'] }]
    }
  },
  {
    files: ['src/model/**'],
    rules: {
      'no-restricted-globals': ['error', ...dom],
      'no-restricted-imports': ['error', { patterns: [applications, { group: ['react', 'react-dom', '../*'] }] }]
    }
  },
  {
    files: ['src/act/**'],
    rules: {
      'no-restricted-globals': ['error', ...dom],
      'no-restricted-imports': ['error', { patterns: [applications, { group: ['react', 'react-dom', '../lab/*', '../view/*', '../widget/*', '../page/*'] }] }]
    }
  },
  {
    files: ['src/view/**'],
    rules: {
      'no-restricted-globals': ['error', ...network],
      'no-restricted-imports': ['error', { patterns: [applications, { group: ['../lab/*', '../widget/*'] }] }]
    }
  },
  { files: ['src/widget/**'], rules: { 'no-restricted-imports': ['error', { patterns: [applications] }] } }
);
