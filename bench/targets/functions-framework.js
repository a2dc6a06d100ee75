// Google's Functions Framework, as its command starts it. It runs the function itself.
const { resolve } = require('node:path');

const source = resolve(__dirname, '../functions/framework/index.js');
process.argv.push('--target=echo', `--source=${source}`, `--port=${process.env.PORT}`);
require('../node_modules/@google-cloud/functions-framework/build/src/main.js');
