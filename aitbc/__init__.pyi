from aitbc.client import AITBCClient as AITBCClient
from aitbc.client import AsyncAITBCClient as AsyncAITBCClient
