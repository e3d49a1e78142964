import { systemFixture } from '../fixtures/oci.ts';
import { runtimeConformance } from './runtime.ts';

runtimeConformance('system', systemFixture);
