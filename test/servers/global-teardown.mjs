import { stopServers } from './running-servers.mjs';

/** Runs once after all specs: stops the servers that the setup started. */
export default stopServers;
