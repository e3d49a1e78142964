import { ociFixture } from '../fixtures/oci.ts';
import { runtimeConformance } from './runtime.ts';

runtimeConformance('oci', ociFixture);

runtimeConformance('oci with a user namespace', () =>
  ociFixture({}, { hostId: 1_900_000_000, size: 65_536 }),
);
