// Loaded before a target: writes what has been loaded to the file PROBE when it is told SIGUSR2.
const { statSync, writeFileSync } = require('node:fs');

const file = process.env.PROBE;
process.on('SIGUSR2', () => {
  const modules = Object.keys(require.cache).filter(name => name !== __filename);
  const bytes = modules.reduce((sum, name) => sum + statSync(name).size, 0);
  writeFileSync(file, JSON.stringify({ modules: modules.length, bytes }));
});
