import { dispatch } from './dispatch.ts';
import { lastResort } from './last-resort.ts';

lastResort.install();
void dispatch(process.argv.slice(2));
