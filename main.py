"""Where the Dify plugin daemon starts the plugin.

`dify_plugin` patches the process with gevent and must be the first import (dify.md, What lies where).
"""

from dify_plugin import DifyPluginEnv, Plugin

# A prompt of 100,000 tokens takes minutes to read on a Mac; the SDK would hang up after 300 seconds.
# The daemon and Dify's API wait 600, so a longer time here would gain nothing.
plugin = Plugin(DifyPluginEnv(MAX_REQUEST_TIMEOUT=600))

if __name__ == "__main__":
    plugin.run()
