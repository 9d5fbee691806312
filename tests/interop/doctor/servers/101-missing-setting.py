# an environment variable is missing; 8 lines of help follow
# KIND stdio
# CAUSE missing-setting
# EXIT 1
# WANT WEATHER_API_KEY
# WANT env
import sys
sys.stderr.write('Error: WEATHER_API_KEY environment variable is required\n' + 'Usage: weather [OPTIONS]\n' * 8); sys.exit(2)
