import { dispatch } from './dispatch.ts';
import { reportUncaught } from './last-resort.ts';

process.on('uncaughtException', reportUncaught);
process.on('unhandledRejection', reportUncaught);
// Leaving at once is a millisecond faster than letting Node take itself apart.
void dispatch(process.argv.slice(2)).then(() => process.exit());
