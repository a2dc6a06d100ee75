// Loaded before a program of Noslate's: `node -r preload.js … PROGRAM`, first of all options, with `NOSLATE_FC_WARM=use:FILE` or `make:FILE`.
import { makePack, usePack } from './loader.ts';

const wish = process.env['NOSLATE_FC_WARM'] ?? '';
// it is meant for this process, not for those that it starts
delete process.env['NOSLATE_FC_WARM'];
process.execArgv.splice(0, 2);
// a program that counts its modules does not count this one
delete require.cache[__filename];
if (wish.startsWith('use:')) usePack(wish.slice(4));
else if (wish.startsWith('make:')) makePack(wish.slice(5));
