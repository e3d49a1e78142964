import { ociFixture } from '../fixtures/oci.ts';
import { runtimeConformance } from './runtime.ts';

runtimeConformance('oci', ociFixture);
