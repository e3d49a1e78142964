import { dispatch } from './dispatch.ts';
import { reportUncaught } from './last-resort.ts';

process.on('uncaughtException', reportUncaught);
process.on('unhandledRejection', reportUncaught);
void dispatch(process.argv.slice(2));
