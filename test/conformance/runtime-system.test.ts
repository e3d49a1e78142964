import { systemFixture } from '../fixtures/oci.ts';
import { runtimeConformance } from './runtime.ts';

runtimeConformance('system', () => systemFixture({ hostId: 1_900_100_000, size: 65_536 }));

runtimeConformance('system without a user namespace', () => systemFixture());
